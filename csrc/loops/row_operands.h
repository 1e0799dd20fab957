// The operands of a call, and what row blocks have of them.
#pragma once

#include "loops/row_block.h"
#include "loops/storage_ops.h"

namespace {

template <class C> struct RowOperands {
    using V = typename Vec<C>::V;
    static constexpr int lanes = Vec<C>::lanes;
    const onesum::Signature& signature;
    const StorageOps<C>& storage;
    char* const* args;
    isize rows, n;
    const isize* strides;
    onesum::CallOptions options;
    const int inputs = signature.core[1] < 0 ? 1 : 2;

    bool has(int which) const { return which < 2 ? signature.core[which] >= 0 : !signature.row_out; }
    bool writes() const { return signature.is_loss() ? options.loss->gradient : has(2); }
    int place(int which) const { return which < 2 ? signature.core[which] : signature.out; }

    char* at(int place, isize row) const { return args[place] + row * strides[place]; }
    isize class_stride(int which) const {  // 0, 1: inputs; 2: output
        return strides[which < 2 ? signature.core_strides[which] : signature.out_stride];
    }
    // From a row and a class on.
    Operand operand(int which, isize row, isize first = 0) const {
        return {at(place(which), row) + first * class_stride(which), class_stride(which), strides[place(which)]};
    }

    // What a block of `count` rows from `first` has beside its inputs and its output.
    template <class W> void per_row(RowBlock<W>& g, isize first, int count, bool fresh) const {
        if (fresh) {
            g.classes = n;
            g.writes = writes();
        }
        if (fresh || strides[signature.temperature]) temperatures(g, first, count);
        if (signature.mask >= 0 && args[signature.mask])
            g.mask = {at(signature.mask, first), strides[signature.mask_stride], strides[signature.mask]};
        if (signature.row_in >= 0) {
            g.row_in = V{};
            for (int k = 0; k < count; ++k) g.row_in[k] = storage.load(at(signature.row_in, first + k));
        }
        if (signature.words_in[0] >= 0)
            for (int word = 0; word < 2; ++word)
                for (int k = 0; k < lanes; ++k)
                    memcpy(&g.words[word][k], at(signature.words_in[word], first + (k < count ? k : 0)),
                           sizeof(double));
        if (signature.is_loss()) set_targets(g, first, count);
    }
    // A single element of the second input, and of the output: of the arrays, or of the copies that are walked.
    template <class W> void set_elements(RowBlock<W>& g, isize first) const {
        g.element = {storage.load, storage.store};
        if (inputs == 2) g.v = operand(1, first);
        if (has(2)) g.result = operand(2, first);
    }
    template <class W> static void set_walked_elements(RowBlock<W>& g) {
        g.element = {storage_ops<C>.load, storage_ops<C>.store};
        g.v = g.in[1], g.result = g.out;
    }
    // What the steps have left of those rows that is not in the output.
    template <class W> void put_rows(const RowBlock<W>& g, isize first, int count) const {
        if (signature.loss >= 0)
            for (int k = 0; k < count; ++k) memcpy(at(signature.loss, first + k), &g.targets.losses[k], sizeof(double));
        if (signature.words_out[0] >= 0)
            for (int word = 0; word < 2; ++word)
                for (int k = 0; k < count; ++k)
                    memcpy(at(signature.words_out[word], first + k), &g.words[word][k], sizeof(double));
        if (signature.row_out) {
            for (int k = 0; k < count; ++k) storage.store(at(signature.out, first + k), g.row_out[k]);
        }
    }

  private:
    template <class W> void temperatures(RowBlock<W>& g, isize first, int count) const {
        g.scaled = false;
        for (int k = 0; k < lanes; ++k) {
            double t = 1;
            if (k < count || strides[signature.temperature] == 0)
                memcpy(&t, at(signature.temperature, first + k), sizeof t);
            g.temperature[k] = t;
            g.scaled |= t != 1;
        }
    }
    template <class W> void set_targets(RowBlock<W>& g, isize first, int count) const {
        auto& targets = g.targets;
        targets.options = options.loss;
        targets.logits = splat(C(-infinity)), targets.in_lanes = splat(typename W::Int(-1)),
        targets.ignored = typename W::I{};
        for (int k = 0; k < count; ++k) {
            isize y;
            memcpy(&y, at(signature.classes, first + k), sizeof y);
            memcpy(&targets.row_weight[k], at(signature.row_weight, first + k), sizeof targets.row_weight[k]);
            targets.classes[k] = y;
            if (y < 0) {
                if (options.loss->probabilities) continue;
                targets.ignored[k] = -1, targets.row_weight[k] = 0;
            } else {
                targets.in_lanes[k] = typename W::Int(y);
                if (!args[signature.mask] || *(at(signature.mask, first + k) + y * strides[signature.mask_stride]))
                    targets.logits[k] = storage.load(at(signature.core[0], first + k) + y * class_stride(0));
            }
        }
        for (int k = count; k < lanes; ++k) targets.classes[k] = -1, targets.row_weight[k] = 0;
        if (signature.masses >= 0)
            for (int k = 0; k < lanes; ++k)
                memcpy(&targets.masses[k], at(signature.masses, first + (k < count ? k : 0)), sizeof targets.masses[k]);
        for (int k = 0; k < lanes; ++k)
            targets.smoothing_mass[k] = options.loss->smoothing == 0
                                            ? 0
                                            : options.loss->smoothing / double(choices(first + (k < count ? k : 0)));
    }
    isize choices(isize row) const {
        if (!args[signature.mask]) return n;
        isize left = 0;
        for (isize j = 0; j < n; ++j) left += *(at(signature.mask, row) + j * strides[signature.mask_stride]) != 0;
        return left;
    }
};

}  // namespace
