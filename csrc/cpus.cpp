#include "cpus.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>

#include <sched.h>

#include "pool.h"

namespace onesum {
namespace {

constexpr double unlimited = INT_MAX;

// The first words of a file as numbers: quota and period of v2's cpu.max, where the quota may be "max"; one each of v1's two files, where
// it may be -1. A number that is not there is 0.
double quotient(const std::string& quota_file, const std::string& period_file) {
    std::string quota, period;
    std::ifstream first(quota_file);
    first >> quota >> period;
    if (!period_file.empty()) std::ifstream(period_file) >> period;
    const double over = strtod(quota.c_str(), nullptr), under = strtod(period.c_str(), nullptr);
    return over > 0 && under > 0 ? over / under : unlimited;
}

double quota_of(const std::string& group, bool v2) {
    return v2 ? quotient(group + "/cpu.max", "") : quotient(group + "/cpu.cfs_quota_us", group + "/cpu.cfs_period_us");
}

// The smallest quota on the way from our cgroup up to the root. In a container the path may be the host's: what it leads to is not there then, and
// the root is the container's own.
double cpu_quota(const std::string& root) {
    double quota = unlimited;
    std::ifstream groups(root + "/proc/self/cgroup");
    for (std::string line; std::getline(groups, line);) {  // "4:cpu,cpuacct:/path", or "0::/path" for v2
        const size_t first = line.find(':'), second = line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        const bool v2 = controllers == ",,";
        if (!v2 && controllers.find(",cpu,") == std::string::npos) continue;
        const std::string mount = root + (v2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu");
        for (std::string path = line.substr(second + 1); path.starts_with('/'); path.erase(path.rfind('/')))
            quota = std::min(quota, quota_of(mount + path, v2));
        quota = std::min(quota, quota_of(mount, v2));
    }
    return quota;
}

int allowed_cpus() {
#if defined(__linux__)
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
    return int(std::thread::hardware_concurrency());  // 0 if it is not known
}

// The whole number >= 1 that the text begins with, up to its end or a comma; 0 if there is none. No number of threads is larger than INT_MAX.
int threads_in(const char* text) {
    char* end;
    const long n = strtol(text, &end, 10);
    while (*end == ' ') ++end;
    return end != text && (*end == '\0' || *end == ',') && n >= 1 ? int(std::min<long>(n, INT_MAX)) : 0;
}

}  // namespace

int usable_cpus(const char* root) { return std::max(1, std::min(allowed_cpus(), int(std::ceil(cpu_quota(root))))); }

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
