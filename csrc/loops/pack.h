// Rows side by side, as a class axis that is not the last has them: copied to tiles and back, class by class, in runs.
#pragma once

#include "loops/row_block.h"

namespace {

// Where the tiles of one operand are: vectors of the same rows, class by class, and vectors of the rows beside them. An
// odd number of vectors lies between neighbours: they must not meet in the caches.
template <class C> struct Tiles {
    char* p;
    isize class_stride, tile_stride;
    Operand at(int t) const { return {p + t * tile_stride, class_stride, sizeof(C)}; }
};
// Nothing to prefetch: the same vector again and again.
template <class C> RunCursor nothing_new(const Tiles<C>& tiles) { return {tiles.p, 0, 0, 1, 1}; }
// How many vectors of rows a panel has, of so many classes and inputs.
inline int panel_vectors(isize classes, int inputs) {
    const size_t fit = panel_limit / (inputs * size_t(classes | 1) * vector_bytes);
    return fit < least_panel ? least_panel : fit > most_panel ? most_panel : int(fit);
}

// How far the copying of rows side by side to tiles has come, which goes a few vectors at a time.
template <class C> struct IncrementalPack {
    static constexpr int lanes = Vec<C>::lanes;
    RunCursor from{}, to{};
    isize left = 0;  // vectors
    int width = 0;   // rows

    IncrementalPack() = default;
    // `size`: bytes of an element
    IncrementalPack(const Operand& a, isize size, int width, isize n, const Tiles<C>& tiles) : width(width) {
        const int vectors = (width + lanes - 1) / lanes;
        from = {a.p, lanes * size, a.class_stride - vectors * lanes * size, vectors, vectors};
        to = {tiles.p, tiles.tile_stride, tiles.class_stride - vectors * tiles.tile_stride, vectors, vectors};
        left = vectors * n;
    }
};
// Until only so many vectors are left.
template <class S> void pack_vectors(IncrementalPack<typename Compute<S>::type>& pack, isize until) {
    using C = typename Compute<S>::type;
    constexpr int lanes = lanes_of<S>;
    const int last = (pack.width - 1) % lanes + 1;
    while (pack.left > until) {
        RunCursor &from = pack.from, &to = pack.to;
        const isize vectors = pack.left - until < from.left ? pack.left - until : from.left;
        const bool part = vectors == from.left && last < lanes;
        const char* p = from.p;
        char* tile = const_cast<char*>(to.p);
        for (isize i = part; i < vectors; ++i, p += from.step, tile += to.step) store<C>(tile, load<S>(p));
        if (part) store<C>(tile, load_n<S>(p, last));
        from.advance(vectors);
        to.advance(vectors);
        pack.left -= vectors;
    }
}

// `some` classes of rows side by side.
template <class S> void pack(const Operand& a, int width, isize some, const Tiles<typename Compute<S>::type>& tiles) {
    using C = typename Compute<S>::type;
    constexpr int lanes = lanes_of<S>, size = sizeof(S);
    for (isize j = 0; j < some; ++j) {
        const char* p = a.p + j * a.class_stride;
        char* tile = tiles.p + j * tiles.class_stride;
        const char* const soon = p + (j + fetched_classes < some ? fetched_classes : 0) * a.class_stride;
        int i = 0;
        for (; i + lanes <= width; i += lanes) {
            __builtin_prefetch(soon + i * size, 0, 2);
            store<C>(tile + i * sizeof(C), load<S>(p + i * size));
        }
        if (i < width) store<C>(tile + i * sizeof(C), load_n<S>(p + i * size, width - i));
    }
}
// n elements that lie one after the other, rounded to the storage type; past the caches by whole lines.
template <class S> ONESUM_INLINE void put_elements(const char* from, isize n, char* p, bool streamed) {
    using C = typename Compute<S>::type;
    constexpr int lanes = lanes_of<S>, size = sizeof(S);
    isize i = 0;
    const auto put = [&](int count) ONESUM_FORCE_INLINE {
        store_n<S>(p + i * size, load_n<C>(from + i * sizeof(C), count), count);
        i += count;
    };
    const uintptr_t begin = reinterpret_cast<uintptr_t>(p);
    streamed &= begin % size == 0;
    isize head = streamed ? isize(-begin % line_bytes / size) : 0;  // of a line that began before them
    head = head < n ? head : n;
    while (i < head) put(head - i < lanes ? int(head - i) : lanes);
    for (; i + lanes <= n; i += lanes) write<S>(p + i * size, AllLanes{}, load<C>(from + i * sizeof(C)), streamed);
    if (i < n) put(int(n - i));
}
// Where elements begin or end within a line it is not streamed, and what is streamed after it would wait for it.
inline void fetch_shared_line(const char* end) {
    if (reinterpret_cast<uintptr_t>(end) % line_bytes != 0) __builtin_prefetch(end, 1);
}
template <class S>
void unpack(const Tiles<typename Compute<S>::type>& tiles, int width, isize some, const Operand& a, bool streamed) {
    using C = typename Compute<S>::type;
    constexpr int lanes = lanes_of<S>, size = sizeof(S);
    for (isize j = 0; j < some; ++j) {
        char* p = a.p + j * a.class_stride;
        const char* tile = tiles.p + j * tiles.class_stride;
        char* const soon = p + (j + fetched_classes < some ? fetched_classes : 0) * a.class_stride;
        if (streamed) {
            fetch_shared_line(soon);
            fetch_shared_line(soon + width * size);
            put_elements<S>(tile, width, p, true);
            continue;
        }
        int i = 0;
        for (; i + lanes <= width; i += lanes) {
            __builtin_prefetch(soon + i * size, 1);
            store<S>(p + i * size, load<C>(tile + i * sizeof(C)));
        }
        put_elements<S>(tile + i * sizeof(C), width - i, p + i * size, false);
    }
}

}  // namespace
