// One CUDA warp on the CPU: 32 lanes as coroutines that take turns at every point where they exchange values.
#include <ucontext.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <vector>

#define __shared__ static
#define __align__(n) __attribute__((aligned(n)))

struct float4 {
    float x, y, z, w;
};
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }

namespace warp {
constexpr int LANES = 32, STACK = 1 << 16;
inline ucontext_t scheduler, lanes[LANES];
inline int lane;
inline bool running[LANES];
inline float values[LANES];
inline std::function<void(int)> work;

inline void meet() { swapcontext(&lanes[lane], &scheduler); }
inline void body(int index) {
    work(index);
    running[index] = false;
}
inline void run(std::function<void(int)> function) {
    static std::vector<char> stacks(LANES * STACK);
    work = std::move(function);
    for (int i = 0; i < LANES; ++i) {
        getcontext(&lanes[i]);
        lanes[i].uc_stack.ss_sp = &stacks[i * STACK];
        lanes[i].uc_stack.ss_size = STACK;
        lanes[i].uc_link = &scheduler;
        running[i] = true;
        makecontext(&lanes[i], reinterpret_cast<void (*)()>(body), 1, i);
    }
    for (bool any = true; any;) {
        any = false;
        for (lane = 0; lane < LANES; ++lane) {
            if (!running[lane]) continue;
            swapcontext(&scheduler, &lanes[lane]);
            any |= running[lane];
        }
    }
}
}  // namespace warp

inline void __syncwarp() { warp::meet(); }
inline float __shfl_sync(unsigned, float value, int source) {
    warp::values[warp::lane] = value;
    warp::meet();
    const float out = warp::values[source];
    warp::meet();
    return out;
}
inline float __shfl_xor_sync(unsigned mask, float value, int other) {
    return __shfl_sync(mask, value, warp::lane ^ other);
}
inline unsigned __ballot_sync(unsigned, bool value) {
    warp::values[warp::lane] = value ? 1.0f : 0.0f;
    warp::meet();
    unsigned out = 0;
    for (int i = 0; i < warp::LANES; ++i) out |= (warp::values[i] != 0.0f ? 1u : 0u) << i;
    warp::meet();
    return out;
}
inline int __popc(unsigned value) { return __builtin_popcount(value); }
inline bool __any_sync(unsigned mask, bool value) { return __ballot_sync(mask, value) != 0; }
