// The state of one step in one execution.
// Lives here: the row. Does not live here: the moves (core/run.pyx), because outputs are reference-counted objects.
#pragma once
#include <cstdint>

struct _object;  // CPython's PyObject, opaque here

namespace flow {

// Half a cache line: a completion reads its own row, the row whose output it took, and one row per successor.
struct StepState {
    struct _object* output;  // owned; nullptr: none (yet)
    double started, ended;   // loop seconds; 0: it has not
    int32_t waiting;         // predecessors that have not ended
    uint16_t retries;        // attempts after the first
    uint8_t status;
    uint8_t parked_for;      // why it is in no queue, see core/run.pxd
};
static_assert(sizeof(StepState) == 32, "two rows are a cache line");

}  // namespace flow
