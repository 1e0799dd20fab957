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
    bool writes() const { return signature.is_loss ? options.loss->gradient : has(2); }
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
            C numbers[lanes] = {};
            storage.gather(at(signature.row_in, first), strides[signature.row_in], count, numbers);
            memcpy(&g.row_in, numbers, sizeof numbers);
        }
        if (signature.words_in[0] >= 0)
            for (int word = 0; word < 2; ++word)
                for (int k = 0; k < lanes; ++k)
                    g.words[word][k] = double_at(signature.words_in[word], first + (k < count ? k : 0));
        if (signature.is_loss) set_targets(g, first, count, fresh);
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
        if (signature.loss >= 0) put_doubles(g.targets.losses, signature.loss, first, count);
        if (signature.words_out[0] >= 0)
            for (int word = 0; word < 2; ++word) put_doubles(g.words[word], signature.words_out[word], first, count);
        if (signature.row_out) {
            C numbers[lanes];
            memcpy(numbers, &g.row_out, sizeof numbers);
            storage.scatter(numbers, count, at(signature.out, first), strides[signature.out], false);
        }
    }

  private:
    template <class W> void temperatures(RowBlock<W>& g, isize first, int count) const {
        g.scaled = false;
        for (int k = 0; k < lanes; ++k) {
            const bool given = k < count || strides[signature.temperature] == 0;
            g.temperature[k] = given ? double_at(signature.temperature, first + k) : 1;
            g.scaled |= g.temperature[k] != 1;
        }
    }
    template <class W> void set_targets(RowBlock<W>& g, isize first, int count, bool fresh) const {
        auto& targets = g.targets;
        targets.options = options.loss;
        const double weight = double_at(signature.row_weight, first);
        for (double& of_row : targets.row_weight) of_row = weight;
        if (strides[signature.row_weight])
            for (int k = 0; k < count; ++k) targets.row_weight[k] = double_at(signature.row_weight, first + k);
        const bool whole = count == lanes && strides[signature.classes] == sizeof(isize) && !args[signature.mask] &&
                           storage.size == sizeof(C);
        if (!whole || !set_classes_of_all(targets, first)) set_classes(targets, first, count);
        if (signature.masses >= 0)
            for (int k = 0; k < lanes; ++k)
                targets.masses[k] = double_at(signature.masses, first + (k < count ? k : 0));
        if (!fresh && options.loss->smoothing == 0) return;
        for (int k = 0; k < lanes; ++k)
            targets.smoothing_mass[k] = options.loss->smoothing == 0
                                            ? 0
                                            : options.loss->smoothing / double(choices(first + (k < count ? k : 0)));
    }
    // The classes of the rows, and the logits there.
    template <class W> void set_classes(LossTargets<W>& targets, isize first, int count) const {
        targets.logits = splat(C(-infinity)), targets.in_lanes = splat(typename W::Int(-1));
        targets.ignored = typename W::I{};
        for (int k = count; k < lanes; ++k) targets.classes[k] = -1, targets.row_weight[k] = 0;
        // What is read is named here: a store to the targets might change it, for all the compiler knows.
        const char *y_at = at(signature.classes, first), *x_at = at(signature.core[0], first),
                   *mask_at = args[signature.mask] ? at(signature.mask, first) : nullptr;
        const isize y_stride = strides[signature.classes], x_stride = strides[signature.core[0]],
                    mask_stride = strides[signature.mask], class_stride = this->class_stride(0),
                    mask_class_stride = strides[signature.mask_stride];
        const bool probabilities = options.loss->probabilities, converted = storage.size != sizeof(C);
        const auto load = storage.load;
        for (int k = 0; k < count; ++k, y_at += y_stride, x_at += x_stride) {
            isize y;
            memcpy(&y, y_at, sizeof y);
            targets.classes[k] = y;
            if (y < 0) {
                if (!probabilities) targets.ignored[k] = -1, targets.row_weight[k] = 0;
                continue;
            }
            targets.in_lanes[k] = typename W::Int(y);
            if (mask_at && !mask_at[k * mask_stride + y * mask_class_stride]) continue;
            const char* const x = x_at + y * class_stride;
            if (converted) targets.logits[k] = load(x);
            else memcpy(reinterpret_cast<C*>(&targets.logits) + k, x, sizeof(C));
        }
    }
    // The same of as many rows as there are lanes, where the classes lie side by side, nothing is masked and no logit
    // is converted; false if a row has no class.
    template <class W> bool set_classes_of_all(LossTargets<W>& targets, isize first) const {
        typedef isize Classes __attribute__((vector_size(lanes * sizeof(isize))));
        Classes y;
        memcpy(&y, at(signature.classes, first), sizeof y);
        memcpy(targets.classes, &y, sizeof y);
        targets.in_lanes = __builtin_convertvector(y, typename W::I);
        targets.ignored = typename W::I{};
        if (any_true(targets.in_lanes < 0)) return false;
        const char* x_at = at(signature.core[0], first);
        const isize x_stride = strides[signature.core[0]], class_stride = this->class_stride(0);
        for (int k = 0; k < lanes; ++k, x_at += x_stride)
            memcpy(reinterpret_cast<C*>(&targets.logits) + k, x_at + targets.classes[k] * class_stride, sizeof(C));
        return true;
    }
    double double_at(int place, isize row) const {
        double x;
        memcpy(&x, at(place, row), sizeof x);
        return x;
    }
    void put_doubles(const double* x, int place, isize first, int count) const {
        if (strides[place] == sizeof *x) memcpy(at(place, first), x, size_t(count) * sizeof *x);
        else
            for (int k = 0; k < count; ++k) memcpy(at(place, first + k), x + k, sizeof *x);
    }
    isize choices(isize row) const {
        if (!args[signature.mask]) return n;
        isize left = 0;
        for (isize j = 0; j < n; ++j) left += *(at(signature.mask, row) + j * strides[signature.mask_stride]) != 0;
        return left;
    }
};

}  // namespace
