// The memory of large results, from several threads: no two live blocks have a byte in common, and none loses its
// content.
//   threads N     N steps of each of four: blocks of all sizes, that die in other threads than they were born in
//   fork          forks meanwhile; the children go on
//   limit ROOT    prints usable_memory(ROOT)
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include "runtime/machine.h"
#include "runtime/result_memory.h"
#include "stress.h"

namespace {

// A block, and a number that is written all over it: to the first byte of every 256 KB, for speed, and to the last.
struct Block {
    unsigned char* data;
    size_t size;
    unsigned char number;
    void write() const {
        for (size_t i = 0; i < size; i += 1 << 18) data[i] = number;
        if (size) data[size - 1] = number;
    }
    void check(unsigned char wanted, size_t until) const {
        for (size_t i = 0; i < until; i += 1 << 18) expect(data[i] == wanted, "a block lost its content");
    }
    void check() const {
        check(number, size);
        if (size) expect(data[size - 1] == number, "a block lost its end");
    }
};

size_t some_size(std::mt19937& random) {
    switch (random() % 4) {
        case 0: return random() % 1000;
        case 1: return size_t(onesum::large_result) - 2 + random() % 4;
        default: return size_t(onesum::large_result) + random() % (16 << 20);
    }
}

std::atomic<Block*> passed{nullptr};  // from one thread to another

void live(int steps, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<Block*> blocks;
    while (steps-- > 0) {
        const size_t i = blocks.empty() ? 0 : random() % blocks.size();
        const auto number = static_cast<unsigned char>(random() % 255 + 1);
        if (blocks.empty() || (blocks.size() < 5 && random() % 2)) {
            const size_t size = some_size(random);
            auto* block = new Block{nullptr, size, number};
            if (random() % 4) {
                block->data = static_cast<unsigned char*>(onesum::allocate(size));
            } else {
                block->data = static_cast<unsigned char*>(onesum::allocate_zeros(size, 1));
                block->check(0, size);
            }
            expect(block->data && reinterpret_cast<uintptr_t>(block->data) % 64 == 0,
                   "no block, or one that is not aligned");
            block->write();
            blocks.push_back(block);
        } else if (random() % 8 == 0) {
            if (Block* other = passed.exchange(blocks[i])) blocks[i] = other;
            else blocks.erase(blocks.begin() + isize(i));
        } else if (random() % 4 == 0) {
            Block& block = *blocks[i];
            const size_t size = some_size(random), least = size < block.size ? size : block.size;
            block.check();
            block.data = static_cast<unsigned char*>(onesum::reallocate(block.data, size));
            expect(block.data, "no block");
            block.check(block.number, least);
            block.size = size;
            block.number = number;
            block.write();
        } else {
            blocks[i]->check();
            onesum::deallocate(blocks[i]->data);
            delete blocks[i];
            blocks.erase(blocks.begin() + isize(i));
        }
        if (random() % 64 == 0) onesum::release_memory();
    }
    for (Block* block : blocks) {
        block->check();
        onesum::deallocate(block->data);
        delete block;
    }
}

void threads(int steps) {
    std::vector<std::thread> all;
    for (unsigned seed = 1; seed <= 4; ++seed) all.emplace_back(live, steps, seed);
    for (std::thread& thread : all) thread.join();
}

void forks() {
    std::thread busy(threads, 200);
    for (unsigned i = 0; i < 12; ++i) {
        const pid_t child = fork();
        expect(child >= 0, "fork failed");
        if (child == 0) {
            alarm(60);  // a deadlock ends here
            passed = nullptr;
            expect(onesum::release_memory() == 0, "a child has what its parent kept");
            live(40, i);
            std::_Exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a child failed");
    }
    busy.join();
}

}  // namespace

void stress_memory(const char* mode, const char* argument) {
    if (!std::strcmp(mode, "threads")) threads(std::atoi(argument));
    if (!std::strcmp(mode, "fork")) forks();
    if (!std::strcmp(mode, "limit")) std::printf("%td\n", onesum::usable_memory(argument));
}
