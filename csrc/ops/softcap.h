// A softcap: before anything else the logits x of a cross entropy become y = c tanh(x / c).
//
// Chunks of rows are capped into float64, where no other type is rounded, and the loss's kernel for float64 goes over
// them. Its gradient g by y times s = dy/dx = sech^2(x / c) is the gradient by x, and with the Hessian H by y, as
// d^2y/dx^2 = -2 s y / c^2, that by x times v is s (H (s v) - 2 g v y / c^2). Both are rounded once. An infinite logit
// becomes -c or c, a class like any other, but one that nothing moves: there s is 0, and the result.
#pragma once

#include "loops/row_loop.h"
#include "numerics/exp.h"

namespace {

class Softcap {
    using K = Constants<double>;
    f64v cap, inverse, inverse_lo;

  public:
    struct Logit { f64v y, slope; };

    explicit Softcap(double c) : cap(splat(c)) {
        const double one_over = 1 / c < K::largest ? 1 / c : K::largest;
        inverse = splat(one_over);
        const f64v product = inverse * cap;
        inverse_lo = ((1 - product) - two_prod_error(inverse, cap, product)) * inverse;
    }
    // With e = exp(-2 abs(x) / c), tanh is (1 - e) / (1 + e) and sech^2 is 4 e / (1 + e)^2. The parts of e give 1 - e
    // without cancellation. Where abs(x) is large, e would feel a rounding of the quotient: it comes in two words, and
    // so does what divides sech^2, whose roundings count twice in a Hessian.
    ONESUM_INLINE Logit of(f64v x) const {
        const f64v size = x < 0 ? -x : x, u = size * inverse;
        f64v rest = fma(size, inverse_lo, two_prod_error(size, inverse, u));
        rest = u < -K::underflow_cutoff ? rest : f64v{};
        const auto e = exp_parts<false>(max(splat(K::underflow_cutoff), -2 * u), -2 * rest, magic_bias_for(f64v{}));
        const f64v biased = fma(e.scale, e.tail(), e.scale), scale = e.scale * K::inv_scale_bias;
        const auto all = fast_two_sum(splat(1.0), biased * K::inv_scale_bias);
        const f64v part = 1 / all.hi, square = all.hi * all.hi;
        const f64v y = u < 0x1p-28 ? size : cap * (((1 - scale) - scale * e.tail()) * part);

        const f64v square_lo = two_prod_error(all.hi, all.hi, square) + 2 * all.hi * all.lo;
        const f64v slope = 4 * biased * part * part, product = slope * square;
        const f64v lacks = ((4 * biased - product) - two_prod_error(slope, square, product)) - slope * square_lo;
        return {x < 0 ? -y : y, fma(lacks * part, part, slope) * K::inv_scale_bias};
    }
};

// A kernel for float64, and where its operands stand.
struct Inner {
    onesum::Kernel kernel;
    const onesum::Signature& signature;
};

template <class S> class Softcapped {
    using C = typename Compute<S>::type;
    using V = typename Vec<C>::V;
    static constexpr int lanes = lanes_of<S>;

    const onesum::Signature& signature;
    char* const* const args;
    const isize rows, n;
    const isize* const strides;
    const onesum::LossOptions& options;
    const Softcap softcap{options.softcap};
    onesum::LossOptions inner_options = options;
    const isize pitch = (n + lanes - 1) / lanes * lanes;  // of a plane, which has a double for each logit of a chunk

  public:
    Softcapped(const onesum::Signature& signature, char* const* args, isize rows, isize n, const isize* strides,
               const onesum::LossOptions& options)
        : signature(signature), args(args), rows(rows), n(n), strides(strides), options(options) {
        inner_options.softcap = 0;
    }

    // The losses, and the gradient where it is wanted. False: no memory.
    bool run(const Inner& loss) const {
        const bool soft = signature.core[1] >= 0;
        return for_each_chunk(2 + soft, [&](isize first, isize count, double* y, double* slope, double* targets,
                                            double*) {
            for_each_vector(count, [&](isize row, isize j, isize at, int some) ONESUM_FORCE_INLINE {
                cap(read(0, first + row, j, some), y + at, options.gradient ? slope + at : nullptr);
                if (soft) wide_to(targets + at, read(1, first + row, j, some));
            });
            if (!call(loss, first, count, y, targets, y)) return false;
            if (!options.gradient) return true;
            for_each_vector(count, [&](isize row, isize j, isize at, int some) ONESUM_FORCE_INLINE {
                write(first + row, j, some,
                      map_lanes([](f64v g, f64v s) ONESUM_FORCE_INLINE { return product(g, s); }, y + at, slope + at));
            });
            return true;
        });
    }
    // The Hessian times the second operand, with the kernel that has the gradient.
    bool run_hvp(const Inner& hvp, const Inner& loss) const {
        return for_each_chunk(4, [&](isize first, isize count, double* y, double* slope, double* grad, double* hv) {
            for_each_vector(count, [&](isize row, isize j, isize at, int some) ONESUM_FORCE_INLINE {
                cap(read(0, first + row, j, some), y + at, slope + at);
                if (options.probabilities) wide_to(grad + at, read(targets, first + row, j, some));
                wide_to(hv + at, read(1, first + row, j, some));
                wide_to(hv + at, map_lanes([](f64v s, f64v v) ONESUM_FORCE_INLINE { return product(s, v); }, slope + at,
                                           hv + at));
            });
            if (!call(loss, first, count, y, grad, grad) || !call(hvp, first, count, y, hv, hv)) return false;
            const f64v by = splat(-2 / options.softcap), c = splat(options.softcap);
            for_each_vector(count, [&](isize row, isize j, isize at, int some) ONESUM_FORCE_INLINE {
                double v[lanes];
                wide_to(v, read(1, first + row, j, some));
                write(first + row, j, some,
                      map_lanes([=](f64v s, f64v hv, f64v g, f64v y, f64v v)
                                    ONESUM_FORCE_INLINE { return product(s, hv + product(g, by * (y / c) * v)); },
                                slope + at, hv + at, grad + at, y + at, v));
            });
            return true;
        });
    }

  private:
    static constexpr int targets = 2;  // beside the core operands

    // What is nothing remains so, whatever it is multiplied by.
    static ONESUM_INLINE f64v product(f64v a, f64v b) { return ((a == 0) | (b == 0)) ? f64v{} : a * b; }
    // f of doubles, as many as there are lanes of S.
    template <class F, class... P> static ONESUM_INLINE Wide<C> map_lanes(F f, const P*... p) {
        double result[lanes];
        for (int k = 0; k < lanes; k += Vec<double>::lanes) {
            const f64v y = f(load<double>(reinterpret_cast<const char*>(p + k))...);
            memcpy(result + k, &y, sizeof y);
        }
        return wide_from<C>(result);
    }
    ONESUM_INLINE void cap(Wide<C> x, double* y, double* slope) const {
        double logits[lanes];
        wide_to(logits, x);
        for (int k = 0; k < lanes; k += Vec<double>::lanes) {
            const auto logit = softcap.of(load<double>(reinterpret_cast<const char*>(logits + k)));
            memcpy(y + k, &logit.y, sizeof logit.y);
            if (slope) memcpy(slope + k, &logit.slope, sizeof logit.slope);
        }
    }

    // The first `some` lanes from class j on.
    ONESUM_INLINE Wide<C> read(int which, isize row, isize j, int some) const {
        const int place = which == targets ? signature.targets : signature.core[which];
        const isize stride = strides[which == targets ? signature.targets_stride : signature.core_strides[which]];
        const char* const p = args[place] + row * strides[place] + j * stride;
        if (stride == sizeof(S)) return Wide<C>::of(some == lanes ? load<S>(p) : load_n<S>(p, some));
        S elements[lanes] = {};
        for (int k = 0; k < some; ++k) memcpy(elements + k, p + k * stride, sizeof(S));
        return Wide<C>::of(load<S>(reinterpret_cast<const char*>(elements)));
    }
    ONESUM_INLINE void write(isize row, isize j, int some, Wide<C> x) const {
        const isize stride = strides[signature.out_stride];
        char* const p = args[signature.out] + row * strides[signature.out] + j * stride;
        const V y = x.rounded() + V{};  // no -0
        if (stride == sizeof(S)) return some == lanes ? store<S>(p, y) : store_n<S>(p, y, some);
        S elements[lanes];
        store<S>(reinterpret_cast<char*>(elements), y);
        for (int k = 0; k < some; ++k) memcpy(p + k * stride, elements + k, sizeof(S));
    }

    // f(first row, rows, planes) for every chunk.
    template <class F> bool for_each_chunk(int planes, F f) const {
        if (rows == 0 || n == 0) return true;
        const isize limit = contiguous() ? softcap_limit : softcap_limit_apart,
                    row_bytes = planes * pitch * isize(sizeof(double));
        const isize fit = row_bytes < limit ? limit / row_bytes : 1, chunk = fit < rows ? fit : rows;
        const Scratch scratch(chunk * row_bytes);
        if (!scratch) return false;
        double* const plane = reinterpret_cast<double*>(scratch.at(0));
        const isize size = chunk * pitch;
        for (isize first = 0; first < rows; first += chunk)
            if (!f(first, rows - first < chunk ? rows - first : chunk, plane, plane + size, plane + 2 * size,
                   plane + 3 * size))
                return false;
        return true;
    }
    bool contiguous() const { return strides[signature.core_strides[0]] == sizeof(S); }
    // f(row, class, place in the planes, lanes) for every vector of `count` rows, in an order in which lines are used
    // whole.
    template <class F> void for_each_vector(isize count, F f) const {
        const isize step = contiguous() ? row_chunk : tile_classes<C>;
        parallel((n - 1) / row_chunk + 1, [&](isize i) {
            const isize end = n - i * row_chunk < row_chunk ? n : (i + 1) * row_chunk;
            for (isize from = i * row_chunk; from < end; from += step)
                for (isize row = 0, until = end - from < step ? end : from + step; row < count; ++row)
                    for (isize j = from; j < until; j += lanes)
                        f(row, j, row * pitch + j, n - j < lanes ? int(n - j) : lanes);
        });
    }

    bool call(const Inner& inner, isize first, isize count, double* x, double* second, double* out) const {
        const onesum::Signature& to = inner.signature;
        char* inner_args[onesum::max_operands] = {};
        isize inner_strides[2 * onesum::max_operands] = {};
        const auto plane = [&](int place, int stride, double* p) {
            if (place < 0) return;
            inner_args[place] = reinterpret_cast<char*>(p);
            inner_strides[place] = pitch * isize(sizeof *p), inner_strides[stride] = sizeof *p;
        };
        plane(to.core[0], to.core_strides[0], x), plane(to.core[1], to.core_strides[1], second),
            plane(to.out, to.out_stride, out);
        plane(to.targets, to.targets_stride, x);  // which is not read
        using Places = onesum::Signature;
        constexpr int Places::* others[] = {&Places::mask,   &Places::classes,     &Places::row_weight,
                                            &Places::masses, &Places::temperature, &Places::loss};
        for (auto operand : others) {
            const int from = signature.*operand;
            if (to.*operand < 0 || from < 0) continue;
            inner_args[to.*operand] = args[from] + first * strides[from], inner_strides[to.*operand] = strides[from];
        }
        if (to.mask >= 0) inner_strides[to.mask_stride] = strides[signature.mask_stride];
        double unwanted;
        if (signature.loss < 0 && to.loss >= 0) inner_args[to.loss] = reinterpret_cast<char*>(&unwanted);
        return inner.kernel(inner_args, count, n, inner_strides, {false, &inner_options});
    }
};

}  // namespace
