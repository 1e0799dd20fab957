// What a kernel is asked: its operands as numbers, row by row.
#pragma once

#include "formulas.h"
#include "numbers.h"

#define ONESUM_NAME(name, Op, operands) #name,
constexpr const char* op_names[] = {ONESUM_OPERATIONS(ONESUM_NAME) ONESUM_CHUNKS(ONESUM_NAME)
                                        ONESUM_LOSSES(ONESUM_NAME)};
#undef ONESUM_NAME
#define ONESUM_OPERANDS(name, Op, operands) operands,
constexpr const char* op_operands[] = {ONESUM_OPERATIONS(ONESUM_OPERANDS) ONESUM_CHUNKS(ONESUM_OPERANDS)
                                           ONESUM_LOSSES(ONESUM_OPERANDS)};
#undef ONESUM_OPERANDS
constexpr const char* storage_names[] = {"float16", "bfloat16", "float32", "float64"};

inline const char* name_of(Op op) { return op_names[op]; }
inline const char* operands_of(Op op) { return op_operands[op]; }
inline int inputs_of(Op op) {
    int count = 0;
    for (const char* c = operands_of(op); *c != '>'; ++c) count += *c == 'x';
    return count;
}
template <class T> std::vector<char> bytes_of(const std::vector<T>& all) {
    const char* const p = reinterpret_cast<const char*>(all.data());
    return {p, p + all.size() * sizeof(T)};
}

enum Numbers {
    ordinary,
    far,           // the maxima are so large that they are subtracted first
    all_the_same,  // rows
    special,       // with infinities and NaN: the same in every layout, whatever it is
};
constexpr double one_for_each_row = 0;  // in the place of a temperature

enum Family { plain, from_output, loss };
struct Variant {
    const char* name;
    Family family;
    int op;  // of a loss
    Numbers numbers;
    bool masked;
    double temperature;
    onesum::LossOptions options = {};
    bool weights = false, ignores = false;

    bool serves(Op asked) const {
        const Family of = asked >= int(onesum::operations) ? loss
                          : asked == op_softmax_vjp || asked == op_log_softmax_vjp || asked == op_log_softmax_jvp
                              ? from_output
                              : plain;
        return family == of && (of != loss || op == asked);
    }
};

inline onesum::LossOptions loss_options(bool gradient, double by = 1, double smoothing = 0, double z_loss = 0,
                                        bool probabilities = false, int wanted = onesum::wanted_loss) {
    onesum::LossOptions o{};
    o.gradient = gradient, o.grad_scale = by, o.smoothing = smoothing, o.z_loss = z_loss,
    o.probabilities = probabilities, o.wanted = wanted;
    return o;
}
inline onesum::LossOptions capped(onesum::LossOptions o) {
    o.softcap = 4;
    return o;
}
inline onesum::LossOptions by_second() {
    onesum::LossOptions o = loss_options(true, 0.5, 0, 0, true);
    o.by_second = true;
    return o;
}

inline const Variant variants[] = {
    {"plain", plain, 0, ordinary, false, 1},
    {"temperatures", plain, 0, ordinary, false, one_for_each_row},
    {"masked", plain, 0, ordinary, true, 0.5},
    {"far", plain, 0, far, false, 8},
    {"special", plain, 0, special, true, 1},
    {"the same", plain, 0, all_the_same, true, 1},

    {"plain", from_output, 0, ordinary, false, 1},
    {"temperatures", from_output, 0, ordinary, false, one_for_each_row},
    {"special", from_output, 0, special, false, 1},
    {"the same", from_output, 0, all_the_same, false, 2},

    {"loss alone", loss, op_cross_entropy, ordinary, false, 1, loss_options(false), true},
    {"gradient", loss, op_cross_entropy, ordinary, false, 1, loss_options(true, 0.25), true},
    {"ignored, masked, z-loss", loss, op_cross_entropy, ordinary, true, one_for_each_row,
     loss_options(true, 1, 0, 0.125), false, true},
    {"far, small factor", loss, op_cross_entropy, far, false, 8, loss_options(true, 0x1p-40), true, true},
    {"softcap", loss, op_cross_entropy, ordinary, true, one_for_each_row, capped(loss_options(true, 0.5, 0, 0.125)),
     true, true},
    {"softcap, loss alone", loss, op_cross_entropy, far, false, 8, capped(loss_options(false))},
    {"special", loss, op_cross_entropy, special, true, 1, loss_options(true, 1, 0, 0.125), true, true},
    {"the same", loss, op_cross_entropy, all_the_same, true, 1, loss_options(true), true},

    {"smoothed", loss, op_soft_cross_entropy, ordinary, false, 1, loss_options(true, 0.25, 0.125), true, true},
    {"probabilities, masked, z-loss", loss, op_soft_cross_entropy, ordinary, true, one_for_each_row,
     loss_options(true, 1, 0.25, 0.125, true), true},
    {"probabilities, far, loss alone", loss, op_soft_cross_entropy, far, false, 8, loss_options(false, 1, 0, 0, true)},
    {"softcap", loss, op_soft_cross_entropy, ordinary, true, one_for_each_row,
     capped(loss_options(true, 1, 0.25, 0.125, true)), true},
    {"softcap, special", loss, op_soft_cross_entropy, special, true, 1, capped(loss_options(true, 1, 0.25, 0, true))},
    {"masses", loss, op_soft_cross_entropy, ordinary, true, 1,
     loss_options(false, 1, 0, 0, true, onesum::wanted_masses), true},
    {"entropy", loss, op_soft_cross_entropy, ordinary, true, one_for_each_row,
     loss_options(false, 1, 0, 0, true, onesum::wanted_entropy)},
    {"special", loss, op_soft_cross_entropy, special, true, 1, loss_options(true, 1, 0.25, 0, true), true},
    {"the same", loss, op_soft_cross_entropy, all_the_same, false, 1, loss_options(true, 1, 0, 0, true)},

    {"value alone", loss, op_kl_divergence, ordinary, false, 1, loss_options(false, 1, 0, 0, true)},
    {"by the first", loss, op_kl_divergence, ordinary, true, one_for_each_row, loss_options(true, 0.5, 0, 0, true)},
    {"by the second", loss, op_kl_divergence, far, false, 8, by_second()},
    {"special", loss, op_kl_divergence, special, true, 1, by_second()},
    {"the same", loss, op_kl_divergence, all_the_same, false, 1, loss_options(true, 1, 0, 0, true)},

    {"plain", loss, op_cross_entropy_hvp, ordinary, false, 1, loss_options(true, 0.25), false, true},
    {"masked, z-loss", loss, op_cross_entropy_hvp, ordinary, true, one_for_each_row, loss_options(true, 1, 0, 0.125),
     false, true},
    {"softcap", loss, op_cross_entropy_hvp, ordinary, true, one_for_each_row, capped(loss_options(true, 1, 0, 0.125)),
     false, true},
    {"special", loss, op_cross_entropy_hvp, special, true, 1, loss_options(true, 1, 0, 0.125), false, true},
    {"the same", loss, op_cross_entropy_hvp, all_the_same, false, 1, loss_options(true)},
};

class Problem {
  public:
    Op op;
    int storage;
    isize rows, n;
    bool masked, one_temperature, writes;
    onesum::LossOptions options;
    std::vector<char> x, second, mask, g;  // packed
    std::vector<double> temperatures, samples, masses, words, weight;
    std::vector<isize> targets;

    Problem(Op op, int storage, const Variant& variant, isize rows, isize n)
        : op(op), storage(storage), rows(rows), n(n), masked(variant.masked && strchr(operands_of(op), 'm')),
          one_temperature(variant.temperature != one_for_each_row),
          writes(variant.family == loss ? variant.options.gradient
                                        : operands_of(op)[strlen(operands_of(op)) - 1] == 'x'),
          options(variant.options) {
        const isize size = size_of(storage);
        const bool same = variant.numbers == all_the_same;
        x.resize(size_t(rows * n * size)), second.resize(x.size()), mask.assign(size_t(rows * n), 1),
            g.resize(size_t(rows * size));
        for (isize j = 0; j < n && variant.weights; ++j) weight.push_back(1 + double(draw(0, 0, j) % 8) / 8);
        for (isize i = 0; i < rows; ++i) {
            const isize r = same ? 0 : i;
            const bool none = options.probabilities || n == 0 || (variant.ignores && draw(1, r, 0) % 4 == 0);
            targets.push_back(none ? -1 : isize(draw(1, r, 1) % uint64_t(n)));
            temperatures.push_back(one_temperature ? variant.temperature : 0.5 + double(draw(2, i, 0) % 16) / 8);
            samples.push_back(none && !options.probabilities ? 0 : 0.5 + double(draw(3, i, 0) % 8) / 8);
            masses.push_back(samples.back() * (1 + double(draw(4, i, 0) % 8) / 8));
            encode(storage, double(draw(5, i, 0) % 65) / 16 - 2, &g[size_t(i * size)]);
            const int kind = variant.numbers == special ? int(draw(6, r, 0) % 8) : ordinary_row;
            for (isize j = 0; j < n; ++j) {
                encode(storage, first_at(variant.numbers, r, j, kind), &x[size_t((i * n + j) * size)]);
                encode(storage, second_at(r, same ? 0 : j, kind), &second[size_t((i * n + j) * size)]);
                if (masked)
                    mask[size_t(i * n + j)] = kind == masked_row ? 0
                                                                 : draw(7, r, j) % 4 != 0 || j == targets.back() ||
                                                                       j == isize(draw(8, r, 0) % uint64_t(n));
            }
            words.push_back(0.5 + double(draw(11, i, 0) % 16) / 8);
            if (op == op_shifted_exp || op == op_shifted_logits) {
                double top = -HUGE_VAL;  // of these classes, or of others
                for (isize j = 0; j < n; ++j) top = std::fmax(top, decode(storage, &x[size_t((i * n + j) * size)]));
                encode(storage, kind == ordinary_row && draw(12, i, 0) % 2 ? top + 1 : top, &g[size_t(i * size)]);
            }
        }
    }

    Problem only(isize i) const {
        Problem one = *this;
        one.rows = 1;
        const auto keep = [&](auto& all) {
            all = {all.begin() + i * isize(all.size()) / rows, all.begin() + (i + 1) * isize(all.size()) / rows};
        };
        keep(one.x), keep(one.second), keep(one.mask), keep(one.g), keep(one.temperatures), keep(one.samples),
            keep(one.masses), keep(one.words), keep(one.targets);
        return one;
    }

    Row row(isize i) const {
        Row row;
        for (isize j = 0; j < n; ++j) {
            row.x.push_back(decode(storage, &x[size_t((i * n + j) * size_of(storage))]));
            row.second.push_back(decode(storage, &second[size_t((i * n + j) * size_of(storage))]));
            row.mask.push_back(mask[size_t(i * n + j)]);
        }
        row.g = decode(storage, &g[size_t(i * size_of(storage))]);
        row.temperature = temperatures[size_t(i)], row.sample = samples[size_t(i)], row.masses = masses[size_t(i)],
        row.target = targets[size_t(i)];
        row.options = options, row.word = words[size_t(i)];
        if (!weight.empty()) row.options.weight = weight.data();
        return row;
    }

  private:
    uint64_t draw(int what, isize i, isize j) const {
        return hash(uint64_t(what), uint64_t(i), uint64_t(j), uint64_t(n), uint64_t(op));
    }

    // Of rows with special numbers there are kinds: with NaN, +inf once or more often, -inf alone, some -inf, all
    // masked; and ordinary ones.
    static constexpr int nan_row = 0, infinite_row = 2, empty_row = 3, gaps_row = 5, masked_row = 6, ordinary_row = 7;
    double first_at(Numbers numbers, isize i, isize j, int kind) const {
        const uint64_t k = draw(9, i, j);
        if (kind == nan_row && k % 8 == 0) return NAN;
        if (kind > nan_row && kind <= infinite_row && k % uint64_t(n) == 0) return HUGE_VAL;
        if (kind == empty_row || (kind <= gaps_row && k % 3 == 0)) return op == op_softmax_vjp ? 0 : -HUGE_VAL;
        if (op == op_softmax_vjp) return std::ldexp(double(k % 255), -7 - int(std::log2(double(n))));
        if (op == op_log_softmax_vjp || op == op_log_softmax_jvp) return -double(k % 193) / 16;
        return numbers == far ? 16 * double(128 + k % 128) : double(k % 257) / 16 - 8;
    }
    double second_at(isize i, isize j, int kind) const {
        const uint64_t k = draw(10, i, j);
        if (kind <= gaps_row && k % 16 == 0) return kind % 2 ? HUGE_VAL : NAN;
        if (op == op_soft_cross_entropy) return double(k % 9) / 16;
        return double(k % 257) / 32 - 4;
    }
};
