// A call of a kernel: the steps of its operation, and what they go over.
#pragma once

#include "loops/protocol.h"
#include "loops/row_operands.h"

namespace {

// An operation as the loops have it.
template <class C> struct OperationSteps {
    Steps<Horizontal<C>> horizontal;
    Steps<Vertical<C>> vertical;
};
template <Operation Op, class C>
constexpr OperationSteps<C> operation_steps = {steps_of<Op, Horizontal<C>>(), steps_of<Op, Vertical<C>>()};

template <class C> struct KernelCall : RowOperands<C> {
    const OperationSteps<C>& steps;

    ExpCache exp_cache() const { return this->writes() ? steps.vertical.exp_cache : ExpCache::none; }
    bool caches_exp() const { return exp_cache() != ExpCache::none; }
    // The exponentials of a block, for which there is room in `cache`, or none.
    template <class W> void set_caches(RowBlock<W>& g, const Operand& cache) const {
        g.general_cache = cache;
        g.fast_cache = cache.p && exp_cache() == ExpCache::output ? g.out : cache;
        g.cache_scale = splat(C(1));
    }
};

}  // namespace
