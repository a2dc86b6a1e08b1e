// A directed acyclic graph as flat arrays (compressed sparse rows, both directions) and walks over it.
// Lives here: the layout, building from edges, Kahn's order, reachability, the longest path.
// Does not live here: names (dynamic_graph.hpp), joins and statuses of a run.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

namespace flow {

// All arrays lie in one block, in this order; succ begins where the (merged) pred ends.
struct Csr {
    uint32_t n, m;
    uint32_t* succ_ptr;  // n + 1
    uint32_t* pred_ptr;  // n + 1
    uint32_t* topo;      // n, every node after its predecessors
    uint32_t* pred;      // m, in the order given
    uint32_t* succ;      // m, ascending
};

inline size_t csr_words(uint64_t n, uint64_t m) noexcept { return 2 * (n + 1) + n + 2 * m; }

inline void csr_lay_out(Csr* graph, uint32_t* block, uint32_t n, uint32_t m) noexcept {
    graph->n = n;
    graph->m = m;
    graph->succ_ptr = block;
    graph->pred_ptr = graph->succ_ptr + n + 1;
    graph->topo = graph->pred_ptr + n + 1;
    graph->pred = graph->topo + n;
    graph->succ = graph->pred + m;
}

// Index of the first value that is no node, or -1. I is any integer type.
template <class I>
inline int64_t csr_bad_value(const I* values, uint64_t count, uint32_t n) noexcept {
    bool bad = false;  // no early exit: the loop vectorizes
    for (uint64_t i = 0; i < count; ++i) bad |= static_cast<uint64_t>(values[i]) >= n;
    if (!bad) return -1;
    for (uint64_t i = 0;; ++i) {
        if (static_cast<uint64_t>(values[i]) >= n) return static_cast<int64_t>(i);
    }
}

template <class I>
inline void csr_narrow(const I* values, uint64_t count, uint32_t* out) noexcept {
    for (uint64_t i = 0; i < count; ++i) out[i] = static_cast<uint32_t>(values[i]);
}

// pred from edge lists, stable: the predecessors of a node keep the order in which its edges were given.
template <class I>
inline void csr_fill_pred(Csr* graph, const I* sources, const I* targets, uint64_t count) noexcept {
    uint32_t* ptr = graph->pred_ptr;
    std::memset(ptr, 0, (graph->n + size_t{1}) * sizeof *ptr);
    for (uint64_t e = 0; e < count; ++e) ++ptr[static_cast<size_t>(targets[e])];
    uint32_t at = 0;
    for (uint32_t v = 0; v <= graph->n; ++v) {
        uint32_t size = ptr[v];
        ptr[v] = at;
        at += size;
    }
    for (uint64_t e = 0; e < count; ++e) {
        graph->pred[ptr[static_cast<size_t>(targets[e])]++] = static_cast<uint32_t>(sources[e]);
    }
    for (uint32_t v = graph->n; v > 0; --v) ptr[v] = ptr[v - 1];
    ptr[0] = 0;
}

// Short rows compare with themselves; long ones mark what they have seen in `seen` (the topo array, not filled yet).
inline uint32_t csr_merge_row(uint32_t* row, uint32_t size, uint32_t* out, uint32_t stamp, uint32_t* seen) noexcept {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < size; ++i) {
        uint32_t u = row[i];
        bool twice = false;
        if (size <= 8) {
            for (uint32_t k = 0; k < kept; ++k) twice |= out[k] == u;
        } else {
            twice = seen[u] == stamp;
            seen[u] = stamp;
        }
        if (!twice) out[kept++] = u;
    }
    return kept;
}

// Merges duplicate edges, so that a join counts every predecessor once; the first mention keeps its place.
inline void csr_merge(Csr* graph) noexcept {
    std::memset(graph->topo, 0, graph->n * sizeof(uint32_t));
    uint32_t at = 0, begin = 0;
    for (uint32_t v = 0; v < graph->n; ++v) {
        uint32_t end = graph->pred_ptr[v + 1];
        graph->pred_ptr[v] = at;
        at += csr_merge_row(graph->pred + begin, end - begin, graph->pred + at, v + 1, graph->topo);
        begin = end;
    }
    graph->pred_ptr[graph->n] = at;
    graph->m = at;
    graph->succ = graph->pred + at;
}

inline void csr_fill_succ(Csr* graph) noexcept {
    uint32_t* ptr = graph->succ_ptr;
    std::memset(ptr, 0, (graph->n + size_t{1}) * sizeof *ptr);
    for (uint32_t e = 0; e < graph->m; ++e) ++ptr[graph->pred[e]];
    uint32_t at = 0;
    for (uint32_t v = 0; v <= graph->n; ++v) {
        uint32_t size = ptr[v];
        ptr[v] = at;
        at += size;
    }
    for (uint32_t v = 0; v < graph->n; ++v) {
        for (uint32_t e = graph->pred_ptr[v]; e < graph->pred_ptr[v + 1]; ++e) graph->succ[ptr[graph->pred[e]]++] = v;
    }
    for (uint32_t v = graph->n; v > 0; --v) ptr[v] = ptr[v - 1];
    ptr[0] = 0;
}

// Whether the numbers of the nodes are a topological order already (the usual case: registered in order).
inline bool csr_ascending(const Csr* graph) noexcept {
    for (uint32_t v = 0; v < graph->n; ++v) {
        for (uint32_t e = graph->pred_ptr[v]; e < graph->pred_ptr[v + 1]; ++e) {
            if (graph->pred[e] >= v) return false;
        }
    }
    return true;
}

// Topological order by counting: A. B. Kahn, "Topological sorting of large networks", CACM 5 (1962).
// False when there is a cycle; `waiting` (n words) then holds what each node still waits for.
inline bool csr_sort(Csr* graph, uint32_t* waiting) noexcept {
    if (csr_ascending(graph)) {
        for (uint32_t v = 0; v < graph->n; ++v) graph->topo[v] = v;
        return true;
    }
    uint32_t tail = 0;
    for (uint32_t v = 0; v < graph->n; ++v) {
        waiting[v] = graph->pred_ptr[v + 1] - graph->pred_ptr[v];
        if (!waiting[v]) graph->topo[tail++] = v;
    }
    for (uint32_t head = 0; head < tail; ++head) {
        uint32_t v = graph->topo[head];
        for (uint32_t e = graph->succ_ptr[v]; e < graph->succ_ptr[v + 1]; ++e) {
            if (!--waiting[graph->succ[e]]) graph->topo[tail++] = graph->succ[e];
        }
    }
    return tail == graph->n;
}

// A circle among the nodes that csr_sort left waiting, first == last. Every such node has such a predecessor.
inline std::vector<uint32_t> csr_cycle(const Csr* graph, const uint32_t* waiting) {
    std::vector<uint32_t> path, place(graph->n, 0);
    uint32_t v = 0;
    while (!waiting[v]) ++v;
    while (!place[v]) {
        path.push_back(v);
        place[v] = static_cast<uint32_t>(path.size());
        uint32_t e = graph->pred_ptr[v];
        while (!waiting[graph->pred[e]]) ++e;
        v = graph->pred[e];
    }
    path.erase(path.begin(), path.begin() + (place[v] - 1));
    path.push_back(v);
    std::reverse(path.begin(), path.end());
    return path;
}

// What `start` reaches along one direction, itself included, as a byte per node.
inline std::vector<uint8_t> csr_reach(const Csr* graph, uint32_t start, bool forward) {
    const uint32_t* ptr = forward ? graph->succ_ptr : graph->pred_ptr;
    const uint32_t* next = forward ? graph->succ : graph->pred;
    std::vector<uint8_t> seen(graph->n, 0);
    std::vector<uint32_t> stack{start};
    seen[start] = 1;
    while (!stack.empty()) {
        uint32_t v = stack.back();
        stack.pop_back();
        for (uint32_t e = ptr[v]; e < ptr[v + 1]; ++e) {
            if (!seen[next[e]]) {
                seen[next[e]] = 1;
                stack.push_back(next[e]);
            }
        }
    }
    return seen;
}

// The nodes marked in `seen`, in topological order.
inline std::vector<uint32_t> csr_in_order(const Csr* graph, const std::vector<uint8_t>& seen) {
    std::vector<uint32_t> nodes;
    for (uint32_t i = 0; i < graph->n; ++i) {
        if (seen[graph->topo[i]]) nodes.push_back(graph->topo[i]);
    }
    return nodes;
}

// Nodes of the heaviest path (sum of the weights of its nodes); `length` gets the sum. Empty for an empty graph.
inline std::vector<uint32_t> csr_critical_path(const Csr* graph, const double* weights, double* length) {
    constexpr uint32_t none = 0xFFFFFFFFu;
    std::vector<double> finish(graph->n, 0.0);
    std::vector<uint32_t> via(graph->n, none), path;
    uint32_t last = none;
    for (uint32_t i = 0; i < graph->n; ++i) {
        uint32_t v = graph->topo[i];
        for (uint32_t e = graph->pred_ptr[v]; e < graph->pred_ptr[v + 1]; ++e) {
            uint32_t u = graph->pred[e];
            if (via[v] == none || finish[u] > finish[via[v]]) via[v] = u;
        }
        finish[v] = weights[v] + (via[v] == none ? 0.0 : finish[via[v]]);
        if (last == none || finish[v] > finish[last]) last = v;
    }
    *length = last == none ? 0.0 : finish[last];
    for (; last != none; last = via[last]) path.push_back(last);
    std::reverse(path.begin(), path.end());
    return path;
}

inline bool csr_rows_hold(const uint32_t* ptr, const uint32_t* values, uint32_t n, uint32_t m) noexcept {
    if (ptr[0] != 0 || ptr[n] != m) return false;
    for (uint32_t v = 0; v < n; ++v) {
        if (ptr[v] > ptr[v + 1]) return false;
    }
    return csr_bad_value(values, m, n) < 0;
}

// nullptr when all invariants hold, else what is wrong.
inline const char* csr_check(const Csr* graph) {
    if (!csr_rows_hold(graph->pred_ptr, graph->pred, graph->n, graph->m)) return "the rows of pred are broken";
    if (!csr_rows_hold(graph->succ_ptr, graph->succ, graph->n, graph->m)) return "the rows of succ are broken";
    std::vector<uint32_t> place(graph->n, graph->n);
    for (uint32_t i = 0; i < graph->n; ++i) {
        if (graph->topo[i] >= graph->n || place[graph->topo[i]] != graph->n) return "topo is no permutation";
        place[graph->topo[i]] = i;
    }
    for (uint32_t v = 0; v < graph->n; ++v) {
        for (uint32_t e = graph->pred_ptr[v]; e < graph->pred_ptr[v + 1]; ++e) {
            uint32_t u = graph->pred[e];
            if (place[u] >= place[v]) return "topo has a node before its predecessor";
            const uint32_t* begin = graph->succ + graph->succ_ptr[u];
            const uint32_t* end = graph->succ + graph->succ_ptr[u + 1];
            if (!std::binary_search(begin, end, v)) return "an edge is in pred only";
        }
    }
    return nullptr;
}

}  // namespace flow
