#include "runtime/machine.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#if defined(__linux__)
#include <sched.h>
#include <unistd.h>
#endif

#include "runtime/thread_pool.h"

namespace onesum {
namespace {

constexpr double unlimited = HUGE_VAL;

// The first words of a file as numbers: quota and period of v2's cpu.max, where the quota may be "max"; one each of
// v1's two files, where it may be -1. A number that is not there is 0.
double quotient(const std::string& quota_file, const std::string& period_file) {
    std::string quota, period;
    std::ifstream first(quota_file);
    first >> quota >> period;
    if (!period_file.empty()) std::ifstream(period_file) >> period;
    const double over = strtod(quota.c_str(), nullptr), under = strtod(period.c_str(), nullptr);
    return over > 0 && under > 0 ? over / under : unlimited;
}

double cpus_of(const std::string& group, bool v2) {
    return v2 ? quotient(group + "/cpu.max", "") : quotient(group + "/cpu.cfs_quota_us", group + "/cpu.cfs_period_us");
}

#if defined(__linux__)
// In bytes. "max" is no number; where there is no limit, v1 has one of 2^63.
double memory_of(const std::string& group, bool v2) {
    std::string limit;
    std::ifstream(group + (v2 ? "/memory.max" : "/memory.limit_in_bytes")) >> limit;
    const double bytes = strtod(limit.c_str(), nullptr);
    return bytes > 0 ? bytes : unlimited;
}
#endif

// The smallest limit on the way from our cgroup up to the root. In a container the path may be the host's: what it
// leads to is not there then, and the root is the container's own.
double cgroup_limit(const std::string& root, const std::string& controller,
                    double (*limit_of)(const std::string& group, bool v2)) {
    double limit = unlimited;
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // "4:cpu,cpuacct:/path", or "0::/path" for v2
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        std::string controllers = line.substr(first, second - first + 1);
        controllers.front() = controllers.back() = ',';
        const bool v2 = controllers == ",,";
        if (!v2 && controllers.find("," + controller + ",") == std::string::npos) continue;
        const std::string mount = root + "/sys/fs/cgroup" + (v2 ? "" : "/" + controller);
        for (std::string path = line.substr(second + 1); path.starts_with('/'); path.erase(path.rfind('/')))
            limit = std::min(limit, limit_of(mount + path, v2));
        limit = std::min(limit, limit_of(mount, v2));
    }
    return limit;
}

int allowed_cpus() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return int(std::thread::hardware_concurrency());  // 0 if it is not known
}

// The whole number >= 1 that the text begins with, up to its end or a comma; 0 if there is none. No number of threads
// is larger than INT_MAX.
int threads_in(const char* text) {
    char* end;
    const long n = strtol(text, &end, 10);
    while (*end == ' ') ++end;
    return end != text && (*end == '\0' || *end == ',') && n >= 1 ? int(std::min<long>(n, INT_MAX)) : 0;
}

}  // namespace

int usable_cpus(const char* root) {
    return std::max(1, int(std::min<double>(allowed_cpus(), std::ceil(cgroup_limit(root, "cpu", cpus_of)))));
}

#if defined(__linux__)
isize usable_memory(const char* root) {
    const double machine = double(sysconf(_SC_PHYS_PAGES)) * double(sysconf(_SC_PAGESIZE));
    return isize(std::min(machine, cgroup_limit(root, "memory", memory_of)));
}
#endif

const char* threads_from_environment() {
    const char* text = getenv("ONESUM_NUM_THREADS");
    if (text && *text) {
        const int n = strchr(text, ',') ? 0 : threads_in(text);
        if (n == 0) return text;
        set_threads(n);
        return nullptr;
    }
    text = getenv("OMP_NUM_THREADS");
    if (const int n = text ? threads_in(text) : 0) set_threads(n);
    return nullptr;
}

}  // namespace onesum
