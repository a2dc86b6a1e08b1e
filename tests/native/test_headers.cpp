// Plain checks of the headers, without Python; test_native.py builds this with sanitizers.
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>
#include <vector>

#include "flow_core/counters.hpp"
#include "flow_core/csr.hpp"
#include "flow_core/ring.hpp"
#include "flow_core/status.hpp"
#include "flow_core/timer_heap.hpp"
#include "flow_core/dynamic_graph_order.hpp"

using namespace flow;

#define CHECK(condition)                                                      \
    do {                                                                      \
        if (!(condition)) {                                                   \
            std::printf("%s:%d: %s\n", __FILE__, __LINE__, #condition);       \
            std::exit(1);                                                     \
        }                                                                     \
    } while (0)

static void counters_lose_nothing() {
    Cell cells[2];
    counter_init(cells, 2);
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
        threads.emplace_back([&] {
            for (int k = 0; k < 20000; ++k) counter_add(cells, k & 1, 3);
        });
    }
    for (auto& thread : threads) thread.join();
    CHECK(counter_get(cells, 0) == 120000 && counter_get(cells, 1) == 120000);
}

static void inbox_delivers_each_post_once_and_in_order() {
    constexpr uint64_t posters = 3, posts = 20000;
    std::unique_ptr<char[]> block(new char[ready_bytes(64)]);
    Ready* ready = ready_init(block.get(), 4, 64, std::malloc, std::free);
    std::vector<std::thread> threads;
    for (uint64_t who = 0; who < posters; ++who) {
        threads.emplace_back([=] {
            for (uint64_t k = 0; k < posts; ++k) {
                while (!ready_post(ready, who << 32 | k, static_cast<uint32_t>(who))) std::this_thread::yield();
            }
        });
    }
    uint64_t next[posters] = {}, seen = 0, item;
    while (seen < posters * posts) {
        if (!ready_drain(ready)) std::this_thread::yield();
        while (ready_pop(ready, &item)) {
            CHECK(next[item >> 32]++ == (item & 0xFFFFFFFF));
            ++seen;
        }
    }
    for (auto& thread : threads) thread.join();
    CHECK(ready_drain(ready) == 0 && ready_empty(ready) && !ready_check(ready));
    ready_free_lanes(ready);
}

static int allocations_left = 0;
static void* scarce(size_t size) { return allocations_left-- > 0 ? std::malloc(size) : nullptr; }

static void ready_survives_refused_memory() {
    std::unique_ptr<char[]> block(new char[ready_bytes(64)]);
    Ready* ready = ready_init(block.get(), 2, 64, scarce, std::free);
    allocations_left = 0;
    CHECK(ready_post(ready, 7, 1) && ready_drain(ready) == -1);  // the item stays in the inbox
    allocations_left = 1;
    CHECK(ready_drain(ready) == 1);
    for (uint64_t i = 0; i < 63; ++i) CHECK(ready_push(ready, i, 1));
    CHECK(!ready_push(ready, 99, 1) && ready_size(ready) == 64 && !ready_check(ready));
    uint64_t item;
    CHECK(ready_pop(ready, &item) && item == 7);
    ready_free_lanes(ready);
}

static void one_of_many_movers_wins() {
    for (int round = 0; round < 200; ++round) {
        uint8_t byte = RUNNING;
        std::atomic<int> won{0};
        std::vector<std::thread> threads;
        for (uint8_t to : {SUCCESS, FAILURE, ABORTED}) {
            threads.emplace_back([&, to] { won += status_move_byte(&byte, to); });
        }
        for (auto& thread : threads) thread.join();
        CHECK(won == 1 && status_terminal(status_load(&byte)));
    }
    CHECK(!status_legal(200, PENDING) && !status_legal(PENDING, 200));
}

static void table_reuses_rows() {
    Table table{};
    CHECK(table_open(&table, 2));
    CHECK(table_acquire(&table) == 0 && table_acquire(&table) == 1 && table_acquire(&table) == -1);
    table.rows[0].steps = 9;
    table_release(&table, 0);
    CHECK(table_acquire(&table) == 0 && table.rows[0].steps == 0 && table.rows[0].generation == 2);
    CHECK(!table_check(&table));
    table_close(&table);
}

static void timers_fire_in_order() {
    TimerHeap timers;
    std::vector<int64_t> handles;
    uint32_t random = 12345;
    for (uint64_t i = 0; i < 2000; ++i) {
        random = random * 1664525u + 1013904223u;
        handles.push_back(timer_add(&timers, random >> 24, i));
    }
    for (size_t i = 0; i < handles.size(); i += 3) CHECK(timer_cancel(&timers, handles[i]));
    for (size_t i = 0; i < handles.size(); i += 3) CHECK(!timer_cancel(&timers, handles[i]));
    CHECK(!timer_check(&timers));
    double last = 0;
    uint64_t token, fired = 0, last_token = 0;
    while (timer_size(&timers)) {
        double due = timer_next(&timers);
        CHECK(due >= last && timer_pop(&timers, due, &token) && token % 3 != 0);
        CHECK(due > last || !fired || token > last_token);
        last = due;
        last_token = token;
        ++fired;
    }
    CHECK(fired == 2000 - 667 && !timer_check(&timers));
}

static void csr_orders_merges_and_finds_circles() {
    const uint32_t sources[] = {3, 3, 2, 3, 1}, targets[] = {2, 2, 1, 0, 0};
    std::vector<uint32_t> block(csr_words(4, 5)), waiting(4);
    Csr graph;
    csr_lay_out(&graph, block.data(), 4, 5);
    csr_fill_pred(&graph, sources, targets, 5);
    csr_merge(&graph);
    csr_fill_succ(&graph);
    CHECK(graph.m == 4 && csr_sort(&graph, waiting.data()) && graph.topo[0] == 3 && !csr_check(&graph));
    const uint32_t back[] = {0, 1, 2}, forth[] = {1, 2, 0};
    csr_lay_out(&graph, block.data(), 4, 3);
    csr_fill_pred(&graph, back, forth, 3);
    csr_merge(&graph);
    csr_fill_succ(&graph);
    CHECK(!csr_sort(&graph, waiting.data()) && csr_cycle(&graph, waiting.data()).size() == 4);
}

static void ignore(Name) {}
static bool equal(Name a, Name b) { return a == b; }

static uint32_t declare(DynamicGraph* t, Name name) {
    uint32_t v = topo_intern(t, name, static_cast<uint32_t>(name * 2654435761u), HIGH);
    topo_declare(t, v, true);
    return v;
}

static void dynamic_graph_takes_back_what_fails() {
    DynamicGraph t;
    topo_init(&t, ignore, ignore, equal);
    topo_begin(&t);
    uint32_t a = declare(&t, 1), b = declare(&t, 2);
    CHECK(topo_connect(&t, b, a, true));
    topo_commit(&t);
    CHECK(topo_reaches(&t, b, a) && !topo_reaches(&t, a, b) && !topo_check(&t));
    topo_begin(&t);
    uint32_t c = declare(&t, 3);
    CHECK(topo_connect(&t, a, c, false) && !topo_connect(&t, c, b, true) && t.cycle.size() == 4);
    topo_rollback(&t);
    CHECK(t.named == 2 && t.edges.size() == 1 && !topo_check(&t));
    for (Name name = 10; name < 2000; ++name) {
        topo_begin(&t);
        CHECK(topo_connect(&t, a, declare(&t, name), false));
        topo_commit(&t);
    }
    for (Name name = 10; name < 2000; name += 2) {
        topo_remove(&t, topo_find(&t, name, static_cast<uint32_t>(name * 2654435761u)));
    }
    CHECK(!topo_check(&t) && t.declared == 2 + 995);
    topo_free(&t);
}

int main() {
    counters_lose_nothing();
    inbox_delivers_each_post_once_and_in_order();
    ready_survives_refused_memory();
    one_of_many_movers_wins();
    table_reuses_rows();
    timers_fire_in_order();
    csr_orders_merges_and_finds_circles();
    dynamic_graph_takes_back_what_fails();
    std::puts("ok");
}
