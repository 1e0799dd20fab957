// How the elements of a storage type become what kernels compute with, and back: the one thing about it that is known
// only when a kernel runs. So the operations are compiled for float and double alone.
#pragma once

#include "loops/pack.h"
#include "simd/transpose.h"

namespace {

template <class C> struct StorageOps {
    using V = typename Vec<C>::V;
    isize size;  // of an element, in bytes
    C (*load)(const char* p);
    void (*store)(char* p, C x);
    // The classes of one row, to where they are one after the other, and back, past the caches if they are so there.
    void (*gather)(const char* p, isize class_stride, isize n, C* to);
    void (*scatter)(const C* from, isize n, char* p, isize class_stride, bool streamed);
    // Rows to a tile, and back.
    void (*transpose_in)(const char* rows, isize row_stride, int width, isize n, V* tile);
    void (*transpose_out)(const V* tile, int width, isize n, char* rows, isize row_stride);
    // Rows side by side to tiles, and back (loops/pack.h).
    void (*pack_vectors)(IncrementalPack<C>& pack, isize until);
    void (*pack)(const Operand& a, int width, isize classes, const Tiles<C>& tiles);
    void (*unpack)(const Tiles<C>& tiles, int width, isize classes, const Operand& a, bool streamed);
};

template <class S> void gather(const char* p, isize class_stride, isize n, typename Compute<S>::type* to) {
    if (class_stride != sizeof(S)) {
        for (isize j = 0; j < n; ++j) to[j] = load_broadcast<S>(p + j * class_stride)[0];
        return;
    }
    using C = typename Compute<S>::type;
    constexpr int lanes = lanes_of<S>;
    isize j = 0;
    for (; j + lanes <= n; j += lanes) store<C>(reinterpret_cast<char*>(to + j), load<S>(p + j * isize(sizeof(S))));
    if (j < n) store_n<C>(reinterpret_cast<char*>(to + j), load_n<S>(p + j * isize(sizeof(S)), int(n - j)), int(n - j));
}
template <class S>
void scatter(const typename Compute<S>::type* from, isize n, char* p, isize class_stride, bool streamed) {
    if (class_stride == sizeof(S)) return put_elements<S>(reinterpret_cast<const char*>(from), n, p, streamed);
    for (isize j = 0; j < n; ++j) store_first<S>(p + j * class_stride, splat(from[j]));
}

template <class S> constexpr StorageOps<typename Compute<S>::type> storage_ops = {
    sizeof(S),
    [](const char* p) { return decltype(typename Compute<S>::type())(load_broadcast<S>(p)[0]); },
    [](char* p, typename Compute<S>::type x) { store_first<S>(p, splat(x)); },
    gather<S>,
    scatter<S>,
    TransposeTile<S, typename Vec<typename Compute<S>::type>::V>::in,
    TransposeTile<S, typename Vec<typename Compute<S>::type>::V>::out,
    pack_vectors<S>,
    pack<S>,
    unpack<S>};

}  // namespace
