// The growing graph behind registration: names to nodes, edges in one pool, changes that can be taken back.
// Lives here: storage, the hash of names, transactions. Does not live here: the order of the nodes and the cycle check
// (dynamic_graph_order.hpp), strings (the owner of the names gives handles and a comparison).
//
// A step costs 40 bytes of node, 16 per edge, 4 of registration order and 8 of hash slot; nothing is an object.
#pragma once
#include <cstdint>
#include <utility>
#include <vector>

namespace flow {

using Name = uintptr_t;
using SameName = bool (*)(Name, Name);
using NameHook = void (*)(Name);

constexpr uint32_t NO_INDEX = 0xFFFFFFFFu;
constexpr uint32_t FLAG = 0x80000000u;  // the top bit of an edge's ends is a flag, so nodes are below 2**31
// The two virtual nodes that stand for ALL: before_all steps -> START -> plain steps -> END -> after_all steps.
constexpr uint32_t START = 0, END = 1, FIRST_NAMED = 2;

// Order numbers come from four zones, so that most registrations find their place without a search.
constexpr int64_t ZONE = int64_t{1} << 60;
enum Zone : uint8_t { LOW, HIGH, BOTTOM, TOP };

struct TopoNode {
    Name name;         // 0: the barriers, and free nodes
    int64_t order;     // every edge goes from a lower to a higher one
    uint32_t out, in;  // newest edge of the list; `out` is the next free node when free
    uint32_t refs : 31;   // live edges at this node
    uint32_t plain : 1;   // declared, does not say ALL, not detached: what ALL means
    uint32_t place;    // place in the order of registration; NO_INDEX: a ghost, only mentioned by others
    uint32_t hash;
    uint32_t mark;     // stamp of the last search that saw it
};

// The pool only grows at its end, so lists and rollback need no more than this; the dead are swept out together.
struct TopoEdge {
    uint32_t from;  // FLAG: declared by `from` (its before), else by `to` (its after)
    uint32_t to;    // FLAG: dead
    uint32_t next_out, next_in;
    uint32_t source() const noexcept { return from & ~FLAG; }
    uint32_t target() const noexcept { return to & ~FLAG; }
    bool by_source() const noexcept { return from & FLAG; }
    bool dead() const noexcept { return to & FLAG; }
};

struct TopoLog {  // what the transaction under way has done
    size_t edges = 0, places = 0;
    bool has_start = false, has_end = false;
    bool wrong = false;  // an edge linked without a look goes against the order
    std::vector<uint32_t> created, killed;
    std::vector<std::pair<uint32_t, int64_t>> orders;
    uint32_t replaced = NO_INDEX;
    bool replaced_plain = false;
};

struct DynamicGraph {
    std::vector<TopoNode> nodes;
    std::vector<TopoEdge> edges;
    std::vector<uint32_t> table;   // open addressing, linear probing, at most half full
    std::vector<uint32_t> places;  // node by registration; NO_INDEX where one was removed
    uint32_t named = 0, declared = 0, dead = 0, free_node = NO_INDEX, stamp = 0;
    int64_t low = -1, high = 0, bottom = -ZONE - 1, top = ZONE + 1;
    bool has_start = false, has_end = false;
    NameHook keep = nullptr, drop = nullptr;
    SameName same = nullptr;
    TopoLog log;
    std::vector<uint32_t> forward, parent, backward, cycle;  // of the search under way
    std::vector<int64_t> slots;
    std::vector<uint32_t> before_it, after_it;  // nodes that the step under way names
};

inline void topo_init(DynamicGraph* t, NameHook keep, NameHook drop, SameName same) {
    t->keep = keep;
    t->drop = drop;
    t->same = same;
    t->nodes.push_back(TopoNode{0, -ZONE, NO_INDEX, NO_INDEX, 0, 0, NO_INDEX, 0, 0});
    t->nodes.push_back(TopoNode{0, ZONE, NO_INDEX, NO_INDEX, 0, 0, NO_INDEX, 0, 0});
    t->table.assign(16, NO_INDEX);
}

inline void topo_free(DynamicGraph* t) noexcept {
    for (const TopoNode& node : t->nodes) {
        if (node.name) t->drop(node.name);
    }
    t->nodes.clear();
}

inline bool topo_is_ghost(const DynamicGraph* t, uint32_t v) noexcept {
    return v >= FIRST_NAMED && t->nodes[v].name && t->nodes[v].place == NO_INDEX;
}

// --- names

inline size_t topo_slot(const DynamicGraph* t, Name name, uint32_t hash) noexcept {
    size_t mask = t->table.size() - 1, at = hash & mask;
    for (; t->table[at] != NO_INDEX; at = (at + 1) & mask) {
        const TopoNode& node = t->nodes[t->table[at]];
        if (node.hash == hash && (node.name == name || t->same(node.name, name))) break;
    }
    return at;
}

inline uint32_t topo_find(const DynamicGraph* t, Name name, uint32_t hash) noexcept {
    return t->table[topo_slot(t, name, hash)];
}

// Room for `named` names without another rehash. Throws bad_alloc, nothing changed then.
inline void topo_reserve_names(DynamicGraph* t, size_t named) {
    size_t size = t->table.size();
    while (size < named * 2) size *= 2;
    if (size == t->table.size()) return;
    std::vector<uint32_t> table(size, NO_INDEX);
    for (uint32_t v : t->table) {
        if (v == NO_INDEX) continue;
        size_t at = t->nodes[v].hash & (size - 1);
        while (table[at] != NO_INDEX) at = (at + 1) & (size - 1);
        table[at] = v;
    }
    t->table.swap(table);
}

inline int64_t topo_fresh_order(DynamicGraph* t, Zone zone) noexcept {
    switch (zone) {
        case LOW: return t->low--;
        case BOTTOM: return t->bottom--;
        case TOP: return t->top++;
        default: return t->high++;
    }
}

// The node of a name, made (as a ghost, with an order number of the zone) when there is none.
inline uint32_t topo_intern(DynamicGraph* t, Name name, uint32_t hash, Zone zone) {
    size_t at = topo_slot(t, name, hash);
    if (t->table[at] != NO_INDEX) return t->table[at];
    if ((size_t{t->named} + 1) * 2 > t->table.size()) {
        topo_reserve_names(t, size_t{t->named} + 1);
        at = topo_slot(t, name, hash);
    }
    t->log.created.push_back(NO_INDEX);
    uint32_t v = t->free_node;
    if (v == NO_INDEX) {
        v = static_cast<uint32_t>(t->nodes.size());
        t->nodes.push_back(TopoNode{});
    } else {
        t->free_node = t->nodes[v].out;
    }
    t->nodes[v] = TopoNode{name, topo_fresh_order(t, zone), NO_INDEX, NO_INDEX, 0, 0, NO_INDEX, hash, 0};
    t->keep(name);
    t->log.created.back() = v;
    t->table[at] = v;
    ++t->named;
    return v;
}

// Forget a node that nothing refers to. Removal by shifting back (Knuth, TAOCP vol. 3, 6.4, algorithm R).
inline void topo_forget(DynamicGraph* t, uint32_t v) noexcept {
    TopoNode& node = t->nodes[v];
    size_t mask = t->table.size() - 1, at = node.hash & mask;
    while (t->table[at] != v) at = (at + 1) & mask;
    for (size_t next = (at + 1) & mask; t->table[next] != NO_INDEX; next = (next + 1) & mask) {
        size_t home = t->nodes[t->table[next]].hash & mask;
        if (((next - home) & mask) < ((next - at) & mask)) continue;
        t->table[at] = t->table[next];
        at = next;
    }
    t->table[at] = NO_INDEX;
    Name name = node.name;
    node = TopoNode{0, 0, t->free_node, NO_INDEX, 0, 0, NO_INDEX, 0, 0};
    t->free_node = v;
    --t->named;
    t->drop(name);
}

// A bulk looks names up all over memory. Asking for the lines some names ahead hides most of the waiting.
struct TopoMention {
    Name name;
    uint32_t v, hash;  // the step that mentions it; the hash of the name
    bool by_source;
};

inline void topo_prefetch_name(Name name) noexcept { __builtin_prefetch(reinterpret_cast<const void*>(name)); }

inline void topo_prefetch_slot(const DynamicGraph* t, uint32_t hash) noexcept {
    __builtin_prefetch(&t->table[hash & (t->table.size() - 1)]);
}

inline void topo_prefetch_node(const DynamicGraph* t, uint32_t hash) noexcept {
    uint32_t v = t->table[hash & (t->table.size() - 1)];
    if (v == NO_INDEX) return;
    const TopoNode* node = t->nodes.data() + v;
    __builtin_prefetch(node, 1);
    __builtin_prefetch(&node->mark, 1);
}

// Room for what a bulk brings. Throws bad_alloc, nothing changed then.
inline void topo_reserve(DynamicGraph* t, size_t steps, size_t edges) {
    topo_reserve_names(t, t->named + steps);
    t->nodes.reserve(t->nodes.size() + steps);
    t->places.reserve(t->places.size() + steps);
    t->edges.reserve(t->edges.size() + edges);
    t->log.created.reserve(steps);
}

// Gives back what growing by doubling left over, after a bulk that brought most of what there is.
inline void topo_trim(DynamicGraph* t) { t->edges.shrink_to_fit(); }

// --- edges and registrations

inline void topo_link(DynamicGraph* t, uint32_t from, uint32_t to, bool by_source) {
    auto e = static_cast<uint32_t>(t->edges.size());
    TopoNode &source = t->nodes[from], &target = t->nodes[to];
    t->edges.push_back(TopoEdge{from | (by_source ? FLAG : 0), to, source.out, target.in});
    source.out = target.in = e;
    ++source.refs;
    ++target.refs;
}

// Leaves the order to topo_recompute.
inline void topo_link_lazily(DynamicGraph* t, uint32_t from, uint32_t to, bool by_source) {
    topo_link(t, from, to, by_source);
    t->log.wrong |= t->nodes[from].order >= t->nodes[to].order;
}

inline void topo_declare(DynamicGraph* t, uint32_t v, bool plain) {
    t->places.push_back(v);
    t->nodes[v].place = static_cast<uint32_t>(t->places.size() - 1);
    t->nodes[v].plain = plain;
    ++t->declared;
}

inline void topo_kill(DynamicGraph* t, uint32_t e) noexcept {
    TopoEdge& edge = t->edges[e];
    edge.to |= FLAG;
    --t->nodes[edge.source()].refs;
    --t->nodes[edge.target()].refs;
    ++t->dead;
}

inline void topo_forget_if_lost(DynamicGraph* t, uint32_t v) noexcept {
    if (topo_is_ghost(t, v) && !t->nodes[v].refs) topo_forget(t, v);
}

// Rebuilds the pool without its dead edges; each is swept once, so a removal pays O(1) for it.
inline void topo_sweep(DynamicGraph* t) noexcept {
    if (t->dead * size_t{2} <= t->edges.size() + t->nodes.size()) return;
    for (TopoNode& node : t->nodes) {
        node.in = NO_INDEX;
        if (node.name || &node < t->nodes.data() + FIRST_NAMED) node.out = NO_INDEX;
    }
    uint32_t kept = 0;
    for (size_t e = 0; e < t->edges.size(); ++e) {
        TopoEdge edge = t->edges[e];
        if (edge.dead()) continue;
        TopoNode &source = t->nodes[edge.source()], &target = t->nodes[edge.to];
        t->edges[kept] = TopoEdge{edge.from, edge.to, source.out, target.in};
        source.out = target.in = kept++;
    }
    t->edges.resize(kept);
    t->dead = 0;
}

// Kills the edges that v itself declared. Edges that others declared to it stay.
inline void topo_kill_own(DynamicGraph* t, uint32_t v, std::vector<uint32_t>* killed) {
    for (uint32_t e = t->nodes[v].in; e != NO_INDEX; e = t->edges[e].next_in) {
        if (!t->edges[e].dead() && !t->edges[e].by_source()) killed->push_back(e);
    }
    for (uint32_t e = t->nodes[v].out; e != NO_INDEX; e = t->edges[e].next_out) {
        if (!t->edges[e].dead() && t->edges[e].by_source()) killed->push_back(e);
    }
    for (uint32_t e : *killed) topo_kill(t, e);
}

// Ghosts that only the killed edges kept are forgotten; then nothing can be taken back any more.
inline void topo_bury(DynamicGraph* t, std::vector<uint32_t>* killed) noexcept {
    for (uint32_t e : *killed) {
        topo_forget_if_lost(t, t->edges[e].source());
        topo_forget_if_lost(t, t->edges[e].target());
    }
    killed->clear();
    topo_sweep(t);
}

// Undeclares v; a ghost remains when others refer to it. Throws bad_alloc, nothing changed then.
inline void topo_remove(DynamicGraph* t, uint32_t v) {
    t->log.killed.clear();
    topo_kill_own(t, v, &t->log.killed);
    t->places[t->nodes[v].place] = NO_INDEX;
    t->nodes[v].place = NO_INDEX;
    t->nodes[v].plain = 0;
    --t->declared;
    topo_bury(t, &t->log.killed);
    if (t->nodes[v].name) topo_forget_if_lost(t, v);
}

// Closes the gaps of removed steps: afterwards a node's place is its dense number.
inline void topo_pack(DynamicGraph* t) noexcept {
    uint32_t kept = 0;
    for (size_t i = 0; i < t->places.size(); ++i) {
        uint32_t v = t->places[i];
        if (v == NO_INDEX) continue;
        t->places[kept] = v;
        t->nodes[v].place = kept++;
    }
    t->places.resize(kept);
}

// --- transactions

inline void topo_begin(DynamicGraph* t) noexcept {
    t->log.edges = t->edges.size();
    t->log.places = t->places.size();
    t->log.has_start = t->has_start;
    t->log.has_end = t->has_end;
    t->log.wrong = false;
    t->log.created.clear();
    t->log.killed.clear();
    t->log.orders.clear();
    t->log.replaced = NO_INDEX;
}

// From here on v's own edges may be declared anew; a rollback brings the old ones back.
inline void topo_begin_replace(DynamicGraph* t, uint32_t v, bool plain) {
    topo_begin(t);
    topo_kill_own(t, v, &t->log.killed);
    t->log.replaced = v;
    t->log.replaced_plain = t->nodes[v].plain;
    t->nodes[v].plain = plain;
}

inline void topo_commit(DynamicGraph* t) noexcept {
    topo_bury(t, &t->log.killed);
    t->log.created.clear();
    t->log.orders.clear();
    t->log.replaced = NO_INDEX;
    if (t->log.created.capacity() > 4096) std::vector<uint32_t>().swap(t->log.created);
}

inline void topo_rollback(DynamicGraph* t) noexcept {
    while (t->edges.size() > t->log.edges) {  // each is the newest of both its lists
        TopoEdge& edge = t->edges.back();
        TopoNode &source = t->nodes[edge.source()], &target = t->nodes[edge.target()];
        source.out = edge.next_out;
        target.in = edge.next_in;
        --source.refs;
        --target.refs;
        t->edges.pop_back();
    }
    for (; t->places.size() > t->log.places; t->places.pop_back(), --t->declared) {
        t->nodes[t->places.back()].place = NO_INDEX;
        t->nodes[t->places.back()].plain = 0;
    }
    for (size_t i = t->log.created.size(); i-- > 0;) {
        if (t->log.created[i] != NO_INDEX) topo_forget(t, t->log.created[i]);
    }
    for (uint32_t e : t->log.killed) {
        TopoEdge& edge = t->edges[e];
        if (!edge.dead()) continue;
        edge.to &= ~FLAG;
        ++t->nodes[edge.source()].refs;
        ++t->nodes[edge.target()].refs;
        --t->dead;
    }
    for (size_t i = t->log.orders.size(); i-- > 0;) t->nodes[t->log.orders[i].first].order = t->log.orders[i].second;
    if (t->log.replaced != NO_INDEX) t->nodes[t->log.replaced].plain = t->log.replaced_plain;
    t->has_start = t->log.has_start;
    t->has_end = t->log.has_end;
    topo_begin(t);
}

}  // namespace flow
