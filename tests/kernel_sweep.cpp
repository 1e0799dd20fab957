// Every kernel in every regime, on arrays of exactly their size: right, the same bits in every layout, and nothing
// touched that is not theirs.
//   kernel_sweep [--digest] [ISA [OPERATION [STORAGE]]]
// With --digest it prints a number for each instruction set, operation and storage instead, made of all bits of the
// results of a fixed set of problems: what two builds both print they compute alike. Of the storage types that are
// computed alike each has a share of the cases, unless an ISA is named: then all have all of them. Exits with 0 if
// nothing was found, and with 1 or a report of the sanitizer otherwise. It is meant for kernels compiled with
// ONESUM_SMALL_THRESHOLDS, where some hundred elements reach every regime, and under the sanitizers:
// tests/test_core_build.py builds it so. It needs no Python.
#include <algorithm>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "common/tuning.h"
#include "runtime/dispatch.h"
#include "runtime/parallel_rows.h"
#include "runtime/thread_pool.h"
#include "sweep/formulas.h"
#include "sweep/layouts.h"
#include "sweep/problem.h"

namespace {

using onesum::tuning::tile_terms, onesum::tuning::sum_segment, onesum::tuning::row_chunk;

// How many allocations there is memory for; and whether one more was asked for.
std::atomic<isize> allocations{LONG_MAX};
std::atomic<bool> refused{false};

// What is being done, for whoever reads what went wrong.
char doing[512];
isize failures = 0, calls = 0;
bool all = false;                // cases, in every storage type
constexpr uint64_t enough = 64;  // elements of an array that is tried in every layout

void fail(const char* what) {
    if (++failures <= 20) std::fprintf(stderr, "kernel_sweep: %s: %s\n", doing, what);
}

struct Kernel {
    const onesum::Isa* isa;
    Op op;
    int storage;
    onesum::Kernel run() const { return isa->kernels->kernel[op][storage]; }
    int lanes() const {
        const std::string name = isa->name;
        const int bytes = name == "x86-64-v4" ? 64 : name == "x86-64-v3" ? 32 : 16;
        return bytes / (storage == onesum::storage_float64 ? 8 : 4);
    }
    // Partial sums of a row: as many wherever there is a fused multiply-add.
    int sums() const {
        return std::string(isa->name) == "x86-64-v2" ? lanes() : storage == onesum::storage_float64 ? 8 : 16;
    }
};

struct Answer {
    std::vector<char> out, rows, words;  // one element a class; a row; two doubles a row
    bool done;
};

// How a call is made, beside the layout; spread: distance of what a row has once, in elements.
struct Manner {
    bool at_end, streamed;
    int threads;
    isize spread;
};

Answer call(const Kernel& kernel, const Problem& problem, const Layout& layout, const Manner& how) {
    static const Arena arenas[onesum::max_operands + 1];
    const isize rows = problem.rows, n = problem.n, size = size_of(kernel.storage);
    std::vector<Array> arrays;
    arrays.reserve(onesum::max_operands);
    const auto add = [&](Pattern pattern, isize of, const std::vector<char>& elements) -> Array& {
        const Strides strides = strides_of(pattern, rows, n, of);
        arrays.emplace_back(arenas[arrays.size()], rows, n, of, strides.of_class, strides.of_row, how.at_end)
            .fill(elements);
        return arrays.back();
    };
    const auto add_rows = [&](isize of, const std::vector<char>& elements, bool same = false) -> Array& {
        arrays.emplace_back(arenas[arrays.size()], rows, 1, of, 0, same ? 0 : how.spread * of, how.at_end)
            .fill(elements);
        return arrays.back();
    };
    // The weights of the classes, which the options point at.
    Array weight(arenas[onesum::max_operands], 1, isize(problem.weight.size()), sizeof(double), sizeof(double), 0,
                 how.at_end);
    onesum::LossOptions options = problem.options;
    weight.fill(bytes_of(problem.weight));
    if (weight.n) options.weight = reinterpret_cast<const double*>(weight.data());

    char* args[onesum::max_operands];
    isize strides[2 * onesum::max_operands], class_strides[2 * onesum::max_operands];
    int operands = 0, with_classes = 0, inputs = 0;
    Array *out = nullptr, *row_out = nullptr, *words_out[2] = {}, *input[2] = {};
    int words = 0;
    const auto take = [&](const Array& array, bool classes) {
        args[operands] = array.data(), strides[operands++] = array.row_stride;
        if (classes) class_strides[with_classes++] = array.class_stride;
    };
    bool output = false;
    for (const char* c = operands_of(kernel.op); *c; ++c) switch (*c) {
            case '>': output = true, words = 0; break;
            case 'w':
                if (output)
                    take(*(words_out[words++] =
                               &add_rows(sizeof(double), std::vector<char>(size_t(rows) * sizeof(double), '\x5a'))),
                         false);
                else
                    take(add_rows(sizeof(double),
                                  words++ ? std::vector<char>(size_t(rows) * sizeof(double)) : bytes_of(problem.words)),
                         false);
                break;
            case 'x':
                if (!output) {
                    input[inputs] = &add(layout.inputs[inputs], size, inputs ? problem.second : problem.x);
                    take(*input[inputs++], true);
                } else if (problem.writes) {
                    out = layout.in_place != nowhere
                              ? input[layout.in_place]
                              : &add(layout.out, size, std::vector<char>(size_t(rows * n * size), '\x5a'));
                    take(*out, true);
                } else {
                    take(*input[0], true);  // not to be written
                }
                break;
            case 'y': take(*input[0], true); break;  // there are none
            case 'm':
                if (problem.masked) {
                    take(add(layout.mask, 1, problem.mask), true);
                } else {
                    args[operands] = nullptr, strides[operands++] = 0, class_strides[with_classes++] = 0;
                }
                break;
            case 'r':
                if (!output) take(add_rows(size, problem.g), false);
                else take(*(row_out = &add_rows(size, std::vector<char>(size_t(rows * size), '\x5a'))), false);
                break;
            case 'l':
                take(*(row_out = &add_rows(sizeof(double), std::vector<char>(size_t(rows) * sizeof(double), '\x5a'))),
                     false);
                break;
            case 'T':
                take(add_rows(sizeof(double), bytes_of(problem.temperatures), problem.one_temperature), false);
                break;
            case 'i': take(add_rows(sizeof(isize), bytes_of(problem.targets)), false); break;
            case 's': take(add_rows(sizeof(double), bytes_of(problem.samples)), false); break;
            case 'q': take(add_rows(sizeof(double), bytes_of(problem.masses)), false); break;
        }
    std::copy(class_strides, class_strides + with_classes, strides + operands);

    for (Array& array : arrays) array.remember();
    ++calls;
    onesum::set_threads(how.threads);
    Answer answer{
        {}, {}, {}, onesum::run({kernel.run(), operands, int(size), {how.streamed, &options}}, args, rows, n, strides)};
    for (Array& array : arrays)
        if (!array.intact(&array == out || &array == row_out || &array == words_out[0] || &array == words_out[1]))
            fail("wrote where nothing was to be written");
    if (out) answer.out = out->packed();
    if (row_out) answer.rows = row_out->packed();
    if (words) {
        const std::vector<char> hi = words_out[0] ? words_out[0]->packed() : std::vector<char>(),
                                lo = words_out[0] ? words_out[1]->packed() : hi;
        for (size_t i = 0; i < hi.size(); i += sizeof(double))
            for (const auto* word : {&hi, &lo})
                answer.words.insert(answer.words.end(), word->begin() + isize(i),
                                    word->begin() + isize(i + sizeof(double)));
    }
    return answer;
}

// Against the formula, roughly.
void check_values(const Kernel& kernel, const Problem& problem, const Answer& answer) {
    const bool is_loss = strchr(operands_of(kernel.op), 'l');
    const double least = kernel.storage == onesum::storage_float16   ? 0x1p-24
                         : kernel.storage == onesum::storage_float64 ? 1e-300
                                                                     : 1e-37;
    const double rounding = kernel.storage == onesum::storage_float16    ? 0x1p-11
                            : kernel.storage == onesum::storage_bfloat16 ? 0x1p-8
                                                                         : 0;
    const double computed = kernel.storage == onesum::storage_float64 ? 0x1p-44 : 0x1p-20;
    const auto differs = [&](Real got, Real wanted, Real size, bool rounded) {
        return got != wanted && !(std::fabs(got - wanted) <= computed * (size + std::fabs(wanted)) +
                                                                 (rounded ? rounding * std::fabs(wanted) : 0) + least);
    };
    const isize size = size_of(kernel.storage);
    for (isize i = 0; i < problem.rows; ++i) {
        const Result wanted = expected(kernel.op, problem.row(i));
        char what[128];
        if (!answer.rows.empty()) {
            double got;
            if (is_loss) memcpy(&got, answer.rows.data() + i * isize(sizeof got), sizeof got);
            else got = decode(kernel.storage, answer.rows.data() + i * size);
            if (differs(got, wanted.value, wanted.value_size, !is_loss)) {
                std::snprintf(what, sizeof what, "row %td: %.9g, expected %.9Lg", i, got, wanted.value);
                fail(what);
            }
        }
        if (!answer.words.empty() && wanted.value > -HUGE_VALL) {
            double got[2];
            memcpy(got, answer.words.data() + i * isize(sizeof got), sizeof got);
            if (differs(Real(got[0]) + got[1], wanted.words, wanted.words + 1, false)) {
                std::snprintf(what, sizeof what, "row %td: r is %.9g, expected %.9Lg", i, got[0] + got[1],
                              wanted.words);
                fail(what);
            }
        }
        for (isize j = 0; j < problem.n && !answer.out.empty(); ++j) {
            const double got = decode(kernel.storage, answer.out.data() + (i * problem.n + j) * size);
            if (!differs(got, wanted.out[size_t(j)], wanted.size[size_t(j)], true)) continue;
            std::snprintf(what, sizeof what, "row %td, class %td: %.9g, expected %.9Lg", i, j, got,
                          wanted.out[size_t(j)]);
            return fail(what);
        }
    }
}

// Bit by bit, but that every NaN is one.
bool same(int storage, const std::vector<char>& a, const std::vector<char>& b) {
    if (a == b) return true;
    const isize size = size_of(storage);
    for (size_t i = 0; i < a.size(); i += size_t(size)) {
        const double x = decode(storage, &a[i]), y = decode(storage, &b[i]);
        if (memcmp(&a[i], &b[i], size_t(size)) && (x == x || y == y)) return false;
    }
    return true;
}

void compare(const Kernel& kernel, const Answer& answer, const Answer& wanted) {
    const bool is_loss = strchr(operands_of(kernel.op), 'l');
    if (!answer.done) fail("no memory");
    if (!same(kernel.storage, answer.out, wanted.out)) fail("other bits than in rows");
    if (!same(is_loss ? int(onesum::storage_float64) : kernel.storage, answer.rows, wanted.rows))
        fail("other bits for the rows than in rows");
    if (!same(onesum::storage_float64, answer.words, wanted.words)) fail("other words for the rows than in rows");
}

void describe(const Kernel& kernel, const Problem& problem, const char* variant, const char* layout,
              const Manner& how) {
    std::snprintf(doing, sizeof doing, "%s, %s, %s, %td x %td, %s, %s, %s, %d threads%s", kernel.isa->name,
                  name_of(kernel.op), storage_names[kernel.storage], problem.rows, problem.n, variant, layout,
                  how.at_end ? "at the end" : "at the start", how.threads, how.streamed ? ", streamed" : "");
}

// float16, bfloat16 and float32 differ in their size in memory and in how they are read and written, and are computed
// alike: one of them takes the case.
bool takes(const Kernel& kernel, const Variant& variant, isize rows, isize n) {
    return all || kernel.storage == onesum::storage_float64 ||
           hash(uint64_t(kernel.op), uint64_t(&variant - variants), uint64_t(rows), uint64_t(n)) % 3 ==
               uint64_t(kernel.storage);
}

void sweep(const Kernel& kernel, const Variant& variant, isize rows, isize n) {
    const Problem problem(kernel.op, kernel.storage, variant, rows, n);
    const uint64_t seed =
        hash(uint64_t(kernel.op), uint64_t(kernel.storage), uint64_t(rows), uint64_t(n), uint64_t(&variant - variants));
    const Manner plainly{true, false, 1, 1};
    describe(kernel, problem, variant.name, layouts[0].name, plainly);
    const Answer wanted = call(kernel, problem, layouts[0], plainly);
    if (!wanted.done) fail("no memory");
    if (variant.numbers != special) check_values(kernel, problem, wanted);

    uint64_t draw = seed;
    const auto try_layout = [&](const Layout& layout) {
        draw = hash(draw);
        if (hash(draw) % uint64_t(rows * n + 1) > enough)
            return;  // of large arrays some layouts: others with other numbers
        const Manner how{(draw & 1) != 0, (draw & 2) != 0, draw & 12 ? 1 : 3,
                         (draw & 16) != 0 ? 1
                         : draw & 32      ? 3
                                          : -1};
        describe(kernel, problem, variant.name, layout.name, how);
        compare(kernel, call(kernel, problem, layout, how), wanted);
    };
    const bool two = inputs_of(kernel.op) == 2;
    for (const Layout& layout : layouts)
        if (layout.in_place == nowhere || (problem.writes && (two || layout.in_place == 0))) try_layout(layout);
    if (variant.numbers == all_the_same)
        for (const Layout& layout : broadcasts) try_layout(layout);

    // Row by row.
    for (isize i = 0; i < std::min<isize>(rows, 3) && rows > 1; ++i) {
        const Manner how{(i & 1) != 0, false, 1, 1};
        describe(kernel, problem, variant.name, "a row alone", how);
        const Answer one = call(kernel, problem.only(i), layouts[i % 3], how);
        const auto part_of = [&](const std::vector<char>& all) {
            return std::vector<char>(all.begin() + i * isize(all.size()) / rows,
                                     all.begin() + (i + 1) * isize(all.size()) / rows);
        };
        compare(kernel, one, {part_of(wanted.out), part_of(wanted.rows), part_of(wanted.words), true});
    }
}

// Whenever memory runs out, the kernel says so (and the leak sanitizer, in the end, whether it has given back what it
// had).
void without_memory(const Kernel& kernel, const Layout& layout, isize rows, isize n) {
    for (const Variant& variant : variants) {
        if (!variant.serves(kernel.op)) continue;
        const Problem problem(kernel.op, kernel.storage, variant, rows, n);
        bool enough = false;
        for (isize first = 0; !enough; ++first) {
            const Manner how{true, false, first % 2 ? 3 : 1, 1};
            describe(kernel, problem, variant.name, layout.name, how);
            allocations = first, refused = false;
            const bool done = call(kernel, problem, layout, how).done;
            allocations = LONG_MAX;
            if (done == refused) fail("wrong about memory");
            enough = !refused;
        }
        return;
    }
}

void sweep(const Kernel& kernel) {
    const isize lanes = kernel.lanes(), few = onesum::tuning::max_transposed_classes_of(kernel.sums()),
                tile = tile_terms * kernel.sums();
    const isize panel = onesum::tuning::most_panel * lanes, columns = onesum::tuning::most_columns * lanes;
    std::vector<std::pair<isize, isize>> shapes = {{0, 5}, {3, 0}, {1, few + 1}};  // rows, classes
    for (isize n : std::initializer_list<isize>{1, 2, 3, 4, 5, lanes - 1, lanes, lanes + 1, lanes + lanes / 2,
                                                2 * lanes - 1, few}) {
        shapes.push_back({1, n});
        shapes.push_back({lanes - 1, n});
        shapes.push_back({4 * lanes + 3, n});
    }
    for (isize n :
         {few + 1, 3 * lanes - 1, tile - 1, tile, tile + 1, sum_segment - 1, sum_segment, sum_segment + lanes + 1})
        for (isize rows : std::initializer_list<isize>{1, lanes + 1}) shapes.push_back({rows, n});
    for (isize n : std::initializer_list<isize>{3, few, tile}) shapes.push_back({panel + lanes + 1, n});
    shapes.push_back({columns + 1, tile + 1});
    shapes.push_back({columns + lanes, sum_segment + 3});
    for (isize n : {row_chunk - 1, row_chunk, row_chunk + 1, row_chunk + sum_segment + lanes - 1, 2 * row_chunk,
                    2 * row_chunk + sum_segment + 5})
        for (isize rows : std::initializer_list<isize>{1, 3}) shapes.push_back({rows, n});
    std::sort(shapes.begin(), shapes.end());
    shapes.erase(std::unique(shapes.begin(), shapes.end()), shapes.end());
    for (const auto& [rows, n] : shapes)
        for (const Variant& variant : variants)
            if (variant.serves(kernel.op) && (n > 0 || variant.family != loss) &&
                takes(kernel, variant, rows, n))  // no loss is asked for of no classes
                sweep(kernel, variant, rows, n);
    without_memory(kernel, layouts[0], 4 * lanes, few);
    without_memory(kernel, layouts[0], 2, 2 * row_chunk + 1);
    without_memory(kernel, layouts[2], 3, few + 1);
    without_memory(kernel, layouts[5], 4 * lanes, tile);
    without_memory(kernel, layouts[5], 2 * lanes, 2 * sum_segment + 1);
}

// All results go into it; a NaN counts as one, whatever its bits.
struct Digest {
    uint64_t value = 0;
    void add(int storage, const std::vector<char>& elements) {
        const size_t size = size_t(size_of(storage));
        for (size_t i = 0; i < elements.size(); i += size) {
            uint64_t bits = 0;
            const double x = decode(storage, &elements[i]);
            if (x == x) memcpy(&bits, &elements[i], size);
            else bits = ~bits;
            value = hash(value, bits);
        }
    }
};

// The shapes do not depend on the instruction set, and reach every regime of each.
uint64_t digest_of(const Kernel& kernel) {
    constexpr isize large = 4096;  // elements: of arrays from there on fewer layouts, for time
    std::vector<std::pair<isize, isize>> shapes = {{83, 3},
                                                   {83, 17},
                                                   {1, row_chunk},
                                                   {1, row_chunk + 1},
                                                   {1, row_chunk + sum_segment + 5},
                                                   {3, 2 * row_chunk + sum_segment + 5}};  // rows, classes
    for (isize n : std::initializer_list<isize>{1, 2, 3, 4, 5, 8, 13, 16, 17, 29, 32, 33, 4 * tile_terms,
                                                8 * tile_terms + 1, 16 * tile_terms, 16 * tile_terms + 1,
                                                sum_segment - 1, sum_segment, sum_segment + 5})
        for (isize rows : {1, 3, 19}) shapes.push_back({rows, n});
    for (isize n : {3, 17}) shapes.push_back({onesum::tuning::most_panel * 16 + 17, n});
    shapes.push_back({onesum::tuning::most_columns * 16 + 1, 16 * tile_terms + 1});
    Digest digest;
    const int lossy = strchr(operands_of(kernel.op), 'l') ? int(onesum::storage_float64) : kernel.storage;
    for (const auto& [rows, n] : shapes)
        for (const Variant& variant : variants) {
            if (!variant.serves(kernel.op)) continue;
            const Problem problem(kernel.op, kernel.storage, variant, rows, n);
            const auto add = [&](const Layout& layout, uint64_t index) {
                const uint64_t draw = hash(uint64_t(rows), uint64_t(n), index);
                const Manner how{(draw & 1) != 0, (draw & 2) != 0, draw & 12 ? 1 : 3,
                                 (draw & 16) != 0 ? 1
                                 : draw & 32      ? 3
                                                  : -1};
                describe(kernel, problem, variant.name, layout.name, how);
                const Answer answer = call(kernel, problem, layout, how);
                digest.add(kernel.storage, answer.out), digest.add(lossy, answer.rows),
                    digest.add(onesum::storage_float64, answer.words);
            };
            for (const Layout& layout : layouts) {
                const auto index = uint64_t(&layout - layouts);
                if (rows * n > large && index % 5 != 0 && index != 2)
                    continue;  // in rows, side by side, in place; classes apart
                if (layout.in_place == nowhere ||
                    (problem.writes && (inputs_of(kernel.op) == 2 || layout.in_place == 0)))
                    add(layout, index);
            }
            if (variant.numbers == all_the_same && rows * n <= large)
                for (const Layout& layout : broadcasts) add(layout, 100 + uint64_t(&layout - broadcasts));
        }
    return digest.value;
}

// Rows compared, on memory of exactly their size: the sums are those of long double.
uint64_t sweep_comparison(const onesum::Isa& isa, int storage) {
    Digest digest;
    const isize rows = 3, size = size_of(storage), lanes = storage == onesum::storage_float64 ? 8 : 16;
    for (isize n : std::initializer_list<isize>{1, lanes - 1, lanes, lanes + 1, 64 * lanes, 131 * lanes + 1}) {
        std::snprintf(doing, sizeof doing, "%s, comparison, %s, %td x %td", isa.name, storage_names[storage], rows, n);
        std::vector<char> x(size_t(rows * n * size)), y = x;
        std::vector<double> known(size_t(4 * rows)), sums(size_t(6 * rows));
        std::vector<Real> wanted(sums.size());
        for (isize i = 0; i < rows; ++i) {
            Row row, other;
            for (isize j = 0; j < n; ++j) {
                const double a = double(hash(uint64_t(i), uint64_t(j)) % 257) / 16 - 8,
                             b = i == 0 ? a + double(j % 3) / 8 : double(hash(uint64_t(j), uint64_t(n)) % 257) / 16 - 8;
                encode(storage, a, &x[size_t((i * n + j) * size)]), encode(storage, b, &y[size_t((i * n + j) * size)]);
                row.x.push_back(decode(storage, &x[size_t((i * n + j) * size)])),
                    other.x.push_back(decode(storage, &y[size_t((i * n + j) * size)]));
            }
            row.mask = other.mask = std::vector<char>(size_t(n), 1);
            double* const k = &known[size_t(4 * i)];
            for (int which = 0; which < 2; ++which) {
                const Result of = expected(op_normalizer, which ? other : row);
                k[which] = double(of.value), k[2 + which] = double(std::log1p(of.words));
            }
            for (isize j = 0; j < n; ++j) {
                const Real log_p = row.x[size_t(j)] - k[0] - k[2], log_q = other.x[size_t(j)] - k[1] - k[3],
                           d = log_q - log_p, p = std::exp(log_p), q = std::exp(log_q);
                const Real to_p = std::log(2 * p / (p + q)), to_q = std::log(2 * q / (p + q));
                const Real terms[] = {p * (std::expm1(d) - d), q * (std::expm1(-d) + d), (p * to_p + q * to_q) / 2, p,
                                      p * std::expm1(d),       p * to_p - q * to_q};
                for (int sum = 0; sum < 6; ++sum) wanted[size_t(6 * i + sum)] += terms[sum];
            }
        }
        isa.kernels->compare[storage](x.data(), y.data(), known.data(), sums.data(), rows, n);
        ++calls;
        digest.add(onesum::storage_float64, bytes_of(sums));
        for (size_t i = 0; i < sums.size(); ++i)
            if (!(std::fabs(sums[i] - wanted[i]) <= (i % 6 == 5 ? 1e-4L : 1e-13L) * (std::fabs(wanted[i]) + 0.1L)))
                fail("a sum is wrong");
    }
    return digest.value;
}

void report() { std::fprintf(stderr, "kernel_sweep: %s: stopped here\n", doing); }

}  // namespace

#if defined(__linux__)
extern "C" {
__attribute__((weak)) void __sanitizer_set_death_callback(void (*)());  // where there is a sanitizer
// The linker puts the second in the place of the first, which is aligned_alloc. (Elsewhere there is always memory.)
void* __real_aligned_alloc(size_t alignment, size_t size);
void* __wrap_aligned_alloc(size_t alignment, size_t size) {
    if (allocations-- > 0) return __real_aligned_alloc(alignment, size);
    refused = true;
    return nullptr;
}
}
constexpr int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};
bool sanitized() {
    if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(report);
    return __sanitizer_set_death_callback;
}
#else
constexpr int faults[] = {SIGSEGV, SIGILL, SIGFPE, SIGABRT};
bool sanitized() { return false; }
#endif

int main(int argc, char** argv) {
    if (!sanitized())
        for (int fault : faults) std::signal(fault, [](int) { report(), std::_Exit(1); });
    const bool digests = argc > 1 && std::string(argv[1]) == "--digest";
    if (digests) --argc, ++argv;
    all = argc > 1;
    for (int i = onesum::isa_count - 1; i >= 0; --i) {
        const onesum::Isa& isa = onesum::isas[i];
        if (!isa.cpu_has_it() || (argc > 1 && onesum::find_isa(argv[1]) != &isa)) continue;
        const auto print = [&](const char* operation, int storage, uint64_t digest) {
            if (digests)
                std::printf("%s %s %s %016llx\n", isa.name, operation, storage_names[storage],
                            static_cast<unsigned long long>(digest));
        };
        for (int storage = 0; storage < onesum::storages && argc <= 2; ++storage)
            print("comparison", storage, sweep_comparison(isa, storage));
        for (int op = 0; op < onesum::kernels; ++op) {
            if (argc > 2 && std::string(argv[2]) != name_of(Op(op))) continue;
            for (int storage = 0; storage < onesum::storages; ++storage) {
                if (argc > 3 && std::string(argv[3]) != storage_names[storage]) continue;
                const Kernel kernel{&isa, Op(op), storage};
                if (digests) print(name_of(Op(op)), storage, digest_of(kernel));
                else sweep(kernel);
            }
        }
    }
    if (digests) return failures || !calls;
    std::printf("%td calls, %td failures\n", calls, failures);
    return failures || !calls;
}
