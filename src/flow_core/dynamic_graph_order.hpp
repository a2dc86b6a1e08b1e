// The order of a growing graph: kept right after every new edge, so that a cycle is found when it would close.
// Lives here: the dynamic topological order, its recomputation, ALL, walks, the way to a frozen graph's edges.
// Does not live here: storage and transactions (dynamic_graph.hpp).
//
// Algorithm: D. J. Pearce, P. H. J. Kelly, "A dynamic topological sort algorithm for directed acyclic graphs",
// ACM JEA 11 (2006). Only the nodes between the two ends of an edge that goes the wrong way are looked at.
#pragma once
#include <algorithm>

#include "flow_core/csr.hpp"
#include "flow_core/dynamic_graph.hpp"

namespace flow {

inline uint32_t topo_new_stamp(DynamicGraph* t) noexcept {
    if (++t->stamp == 0) {
        for (TopoNode& node : t->nodes) node.mark = 0;
        t->stamp = 1;
    }
    return t->stamp;
}

// Nodes after `start` with an order up to `limit`, into `forward` (breadth first); stops, true, at `goal`.
inline bool topo_search_forward(DynamicGraph* t, uint32_t start, int64_t limit, uint32_t goal) {
    uint32_t stamp = topo_new_stamp(t);
    t->forward.assign(1, start);
    t->parent.assign(1, NO_INDEX);
    t->nodes[start].mark = stamp;
    for (uint32_t head = 0; head < t->forward.size(); ++head) {
        for (uint32_t e = t->nodes[t->forward[head]].out; e != NO_INDEX; e = t->edges[e].next_out) {
            const TopoEdge& edge = t->edges[e];
            if (edge.dead()) continue;
            TopoNode& node = t->nodes[edge.to];
            if (node.order > limit || node.mark == stamp) continue;
            node.mark = stamp;
            t->forward.push_back(edge.to);
            t->parent.push_back(head);
            if (edge.to == goal) return true;
        }
    }
    return false;
}

inline void topo_search_backward(DynamicGraph* t, uint32_t start, int64_t limit) {
    uint32_t stamp = topo_new_stamp(t);
    t->backward.assign(1, start);
    t->nodes[start].mark = stamp;
    for (uint32_t head = 0; head < t->backward.size(); ++head) {
        for (uint32_t e = t->nodes[t->backward[head]].in; e != NO_INDEX; e = t->edges[e].next_in) {
            const TopoEdge& edge = t->edges[e];
            if (edge.dead()) continue;
            TopoNode& node = t->nodes[edge.source()];
            if (node.order < limit || node.mark == stamp) continue;
            node.mark = stamp;
            t->backward.push_back(edge.source());
        }
    }
}

// The circle that the search has closed at the last node of `forward`, first == last.
inline void topo_take_cycle(DynamicGraph* t) {
    t->cycle.clear();
    for (auto at = static_cast<uint32_t>(t->forward.size() - 1); at != NO_INDEX; at = t->parent[at]) {
        t->cycle.push_back(t->forward[at]);
    }
    std::reverse(t->cycle.begin(), t->cycle.end());
    t->cycle.push_back(t->cycle.front());
}

// Both sides share out the order numbers that they had: all of `backward` below all of `forward`.
inline void topo_reorder(DynamicGraph* t) {
    auto less = [t](uint32_t a, uint32_t b) { return t->nodes[a].order < t->nodes[b].order; };
    std::sort(t->backward.begin(), t->backward.end(), less);
    std::sort(t->forward.begin(), t->forward.end(), less);
    size_t total = t->backward.size() + t->forward.size();
    t->slots.clear();
    for (uint32_t v : t->backward) t->slots.push_back(t->nodes[v].order);
    for (uint32_t v : t->forward) t->slots.push_back(t->nodes[v].order);
    std::inplace_merge(t->slots.begin(), t->slots.begin() + static_cast<std::ptrdiff_t>(t->backward.size()), t->slots.end());
    if (t->log.replaced != NO_INDEX) {  // only a replacement that fails brings old edges back
        t->log.orders.reserve(t->log.orders.size() + total);
        for (uint32_t v : t->backward) t->log.orders.emplace_back(v, t->nodes[v].order);
        for (uint32_t v : t->forward) t->log.orders.emplace_back(v, t->nodes[v].order);
    }
    size_t i = 0;
    for (uint32_t v : t->backward) t->nodes[v].order = t->slots[i++];
    for (uint32_t v : t->forward) t->nodes[v].order = t->slots[i++];
}

// Adds from -> to and mends the order. False: it closes a circle (`cycle`), the caller rolls back.
inline bool topo_connect(DynamicGraph* t, uint32_t from, uint32_t to, bool by_source) {
    if (from == to) {
        t->cycle.assign(2, from);
        return false;
    }
    if (t->nodes[from].order > t->nodes[to].order) {
        if (topo_search_forward(t, to, t->nodes[from].order, from)) {
            topo_take_cycle(t);
            return false;
        }
        topo_search_backward(t, from, t->nodes[to].order);
        topo_reorder(t);
    }
    topo_link(t, from, to, by_source);
    return true;
}

// --- ALL

inline bool topo_connect_one(DynamicGraph* t, uint32_t from, uint32_t to, bool by_source, bool lazily) {
    if (!lazily) return topo_connect(t, from, to, by_source);
    topo_link_lazily(t, from, to, by_source);
    return true;
}

// The barriers cost two edges a step, so they are made when the first step says ALL.
inline bool topo_raise_barrier(DynamicGraph* t, bool end, bool lazily) {
    bool* raised = end ? &t->has_end : &t->has_start;
    if (*raised) return true;
    *raised = true;
    for (uint32_t v : t->places) {
        if (v == NO_INDEX || !t->nodes[v].plain) continue;
        if (!(end ? topo_connect_one(t, v, END, true, lazily) : topo_connect_one(t, START, v, false, lazily))) return false;
    }
    return true;
}

// The edges between a declared step and the barriers. `lazily`: the caller recomputes the order afterwards.
inline bool topo_connect_all(DynamicGraph* t, uint32_t v, bool after_all, bool before_all, bool lazily) {
    if (after_all && !(topo_raise_barrier(t, true, lazily) && topo_connect_one(t, END, v, false, lazily))) return false;
    if (before_all && !(topo_raise_barrier(t, false, lazily) && topo_connect_one(t, v, START, true, lazily))) return false;
    if (!t->nodes[v].plain) return true;
    if (t->has_start && !topo_connect_one(t, START, v, false, lazily)) return false;
    return !t->has_end || topo_connect_one(t, v, END, true, lazily);
}

// --- one step

// Chooses the order number of a step that nothing binds yet, so that its edges need no search: below what it comes
// before, above what it comes after, and within the zone of those that said ALL where it belongs to them.
inline void topo_settle(DynamicGraph* t, uint32_t v, bool after_all, bool before_all) {
    if (t->nodes[v].refs) return;
    if (t->log.replaced != NO_INDEX) t->log.orders.emplace_back(v, t->nodes[v].order);
    bool high = after_all || !t->before_it.empty() || (t->after_it.empty() && !before_all);
    bool outer = high ? after_all : before_all;
    for (uint32_t u : t->before_it) outer |= high && t->nodes[u].order > ZONE / 2;
    for (uint32_t u : t->after_it) outer |= !high && t->nodes[u].order < -ZONE / 2;
    t->nodes[v].order = topo_fresh_order(t, high ? (outer ? TOP : HIGH) : (outer ? BOTTOM : LOW));
}

// All edges that v declares: before_it -> v -> after_it, and ALL. False: `cycle`.
inline bool topo_connect_step(DynamicGraph* t, uint32_t v, bool after_all, bool before_all) {
    topo_settle(t, v, after_all, before_all);
    for (uint32_t u : t->before_it) {
        if (!topo_connect(t, u, v, false)) return false;
    }
    for (uint32_t u : t->after_it) {
        if (!topo_connect(t, v, u, true)) return false;
    }
    return topo_connect_all(t, v, after_all, before_all, false);
}

// --- recomputation

struct TopoBlock {  // a Csr that owns its block
    std::vector<uint32_t> words;
    Csr csr;
};

inline void topo_to_csr(const DynamicGraph* t, TopoBlock* out) {
    std::vector<uint32_t> sources, targets;
    sources.reserve(t->edges.size());
    targets.reserve(t->edges.size());
    for (const TopoEdge& edge : t->edges) {
        if (edge.dead()) continue;
        sources.push_back(edge.source());
        targets.push_back(edge.to);
    }
    auto n = static_cast<uint32_t>(t->nodes.size());
    auto m = static_cast<uint32_t>(sources.size());
    out->words.resize(csr_words(n, m));
    csr_lay_out(&out->csr, out->words.data(), n, m);
    csr_fill_pred(&out->csr, sources.data(), targets.data(), m);
    csr_fill_succ(&out->csr);
}

// The order numbers of all nodes anew, in their zones. Nothing is logged: it happens last or not at all.
inline void topo_renumber(DynamicGraph* t, const Csr* csr) {
    std::vector<uint8_t> below(csr->n, 0), above(csr->n, 0);
    if (t->has_start) below = csr_reach(csr, START, false);
    if (t->has_end) above = csr_reach(csr, END, true);
    below[START] = above[END] = 1;
    t->high = 0;
    t->low = -1;
    for (uint32_t i = 0; i < csr->n; ++i) {
        uint32_t v = csr->topo[i];
        t->nodes[v].order = below[v] ? -ZONE - csr->n + i : above[v] ? ZONE + i : t->high++;
    }
    t->bottom = -ZONE - csr->n - 1;
    t->top = ZONE + csr->n;
}

// Mends the whole order in one pass after edges were linked lazily, if one of them needs it. False: `cycle`.
inline bool topo_recompute(DynamicGraph* t) {
    if (!t->log.wrong) return true;
    TopoBlock block;
    topo_to_csr(t, &block);
    std::vector<uint32_t> waiting(block.csr.n);
    if (!csr_sort(&block.csr, waiting.data())) {
        t->cycle = csr_cycle(&block.csr, waiting.data());
        return false;
    }
    topo_renumber(t, &block.csr);
    return true;
}

// --- queries

// Whether a comes strictly before b.
inline bool topo_reaches(DynamicGraph* t, uint32_t a, uint32_t b) {
    return a != b && t->nodes[a].order < t->nodes[b].order && topo_search_forward(t, a, t->nodes[b].order, b);
}

// Direct neighbours of v, each once, barriers resolved: declared by v first for predecessors.
inline std::vector<uint32_t> topo_neighbours(const DynamicGraph* t, uint32_t v, bool before) {
    std::vector<uint32_t> own, others;
    for (uint32_t e = before ? t->nodes[v].in : t->nodes[v].out; e != NO_INDEX;
         e = before ? t->edges[e].next_in : t->edges[e].next_out) {
        const TopoEdge& edge = t->edges[e];
        if (!edge.dead()) (edge.by_source() == before ? others : own).push_back(before ? edge.source() : edge.to);
    }
    std::reverse(own.begin(), own.end());  // the lists are newest first
    std::reverse(others.begin(), others.end());
    own.insert(own.end(), others.begin(), others.end());
    std::vector<uint32_t> result;
    std::vector<uint8_t> seen(t->nodes.size(), 0);
    auto add = [&](uint32_t u) {
        if (!seen[u]) result.push_back(u);
        seen[u] = 1;
    };
    auto add_all = [&](uint32_t barrier) {
        if (barrier == (before ? END : START)) {  // v itself says ALL
            for (uint32_t u : t->places) {
                if (u != NO_INDEX && t->nodes[u].plain) add(u);
            }
            return;
        }
        for (uint32_t e = before ? t->nodes[barrier].in : t->nodes[barrier].out; e != NO_INDEX;
             e = before ? t->edges[e].next_in : t->edges[e].next_out) {
            if (!t->edges[e].dead()) add(before ? t->edges[e].source() : t->edges[e].to);
        }
    };
    for (uint32_t u : own) {
        if (u < FIRST_NAMED) {
            add_all(u);
        } else {
            add(u);
        }
    }
    return result;
}

// The edges among declared steps as dense numbers, for a frozen graph: what a step declared itself comes first.
// Places are packed, and there are no ghosts.
inline void topo_export(const DynamicGraph* t, std::vector<uint32_t>* sources, std::vector<uint32_t>* targets) {
    std::vector<uint32_t> place(t->nodes.size()), plain;
    for (size_t v = 0; v < t->nodes.size(); ++v) place[v] = t->nodes[v].place;
    for (uint32_t v : t->places) {
        if (t->nodes[v].plain && (t->has_start || t->has_end)) plain.push_back(t->nodes[v].place);
    }
    sources->reserve(t->edges.size());
    targets->reserve(t->edges.size());
    for (bool by_source : {false, true}) {
        for (const TopoEdge& edge : t->edges) {
            if (edge.dead() || edge.by_source() != by_source) continue;
            uint32_t from = edge.source(), to = edge.to;
            if (from >= FIRST_NAMED && to >= FIRST_NAMED) {
                sources->push_back(place[from]);
                targets->push_back(place[to]);
            } else if (from == END) {  // an after_all step
                sources->insert(sources->end(), plain.begin(), plain.end());
                targets->insert(targets->end(), plain.size(), place[to]);
            } else if (to == START) {  // a before_all step
                sources->insert(sources->end(), plain.size(), place[from]);
                targets->insert(targets->end(), plain.begin(), plain.end());
            }
        }
    }
}

// nullptr when all invariants hold, else what is wrong.
inline const char* topo_check(const DynamicGraph* t) {
    std::vector<uint32_t> refs(t->nodes.size(), 0);
    uint32_t dead = 0, named = 0, declared = 0;
    for (const TopoEdge& edge : t->edges) {
        dead += edge.dead();
        if (edge.dead()) continue;
        if (t->nodes[edge.source()].order >= t->nodes[edge.to].order) return "an edge goes against the order";
        ++refs[edge.source()];
        ++refs[edge.to];
    }
    if (dead != t->dead) return "the count of dead edges is wrong";
    for (uint32_t v = 0; v < t->nodes.size(); ++v) {
        const TopoNode& node = t->nodes[v];
        if (refs[v] != node.refs) return "the count of edges at a node is wrong";
        if (v < FIRST_NAMED || !node.name) continue;
        ++named;
        if (topo_find(t, node.name, node.hash) != v) return "a name is lost";
        if (topo_is_ghost(t, v) && !node.refs) return "a ghost that nobody names";
        if (node.place == NO_INDEX) continue;
        ++declared;
        if (node.place >= t->places.size() || t->places[node.place] != v) return "a step does not know its place";
    }
    if (named != t->named || declared != t->declared) return "the counts of names or steps are wrong";
    return t->table.size() >= size_t{2} * t->named ? nullptr : "the table of names is too full";
}

}  // namespace flow
