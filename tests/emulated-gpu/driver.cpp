// The CUDA driver, cuBLAS and cuRAND of a GPU that the CPU emulates: as much of them as candle and the operators call.
// Everything happens at once, in the order of the calls; addresses of the device are addresses of the host.
//
// EMULATED_GPU_ORDER=reverse runs blocks, warps and lanes from the last to the first: results must not depend on it.

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#ifndef __x86_64__
#error "the emulated GPU switches between threads in x86-64 code"
#endif

namespace {

std::recursive_mutex device;
typedef std::lock_guard<std::recursive_mutex> Lock;

// Error codes of the driver.
enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    INVALID_DEVICE = 101,
    INVALID_CONTEXT = 201,
    INVALID_SOURCE = 300,
    NOT_FOUND = 500,
    OUT_OF_RESOURCES = 701
};

// The context that is current in this thread.
thread_local void *bound;

// --- kernels --------------------------------------------------------------------------------------------------------

// Shared memory of a block, and of one that asks for more.
constexpr unsigned SHARED = 48 << 10, MORE_SHARED = 227 << 10;

struct Kernel {
    std::string name;
    void (*call)(void **);
    // The most threads of a block, as it is declared.
    unsigned most_threads;
    // The largest dynamic shared memory of a launch, if it was set.
    unsigned most_dynamic = 0;
};
struct Module {
    void *library;
    std::map<std::string, Kernel> kernels;
};

constexpr int LANES = 32, SLOT = 64;
constexpr size_t STACK = 256 << 10;

enum State { READY, AT_BARRIER, IN_WARP, DONE };

// A stack on which threads run, one after the other until one of them waits.
struct Fiber {
    void *top;
    char *stack;
};
struct Thread {
    State state;
    Fiber *fiber;
};
struct Warp {
    int first, size;
    // Lanes that have not returned, and those that wait for an exchange.
    int live, waiting;
    // Of the exchange that lanes wait for.
    int kind;
    bool took_part[LANES];
    // A lane may write its next value while others still read the last.
    char slots[2][LANES][SLOT];
    bool turn[LANES];
};

std::vector<Fiber *> idle;
std::vector<Thread> threads;
std::vector<Warp> warps;
const Kernel *running;
void **arguments;
int current;
void *scheduler;
int live, at_barrier;
// Shared memory of the block.
size_t dynamic_shared, static_shared;
bool reverse_order;
// Threads of the warp that have not started, and the fiber that takes them.
std::vector<int> waiting_to_start;

extern "C" {
uint32_t emulated_thread[3], emulated_block[3], emulated_block_size[3], emulated_grid_size[3];
char *emulated_dynamic;
uint64_t emulated_block_count;
// Saves the callee-saved registers and the stack of the caller in `from`, and continues at `to`.
void emulated_switch(void **from, void *to);
}
asm(R"(
.text
.globl emulated_switch
.hidden emulated_switch
emulated_switch:
    push %rbp; push %rbx; push %r12; push %r13; push %r14; push %r15
    mov %rsp, (%rdi)
    mov %rsi, %rsp
    pop %r15; pop %r14; pop %r13; pop %r12; pop %rbx; pop %rbp
    ret
)");

[[noreturn]] void fail(const char *what) {
    if (running) fprintf(stderr, "emulated GPU: kernel %s: %s\n", running->name.c_str(), what);
    else fprintf(stderr, "emulated GPU: %s\n", what);
    _exit(70);
}

extern "C" void emulated_fail(const char *what) { fail(what); }

extern "C" void emulated_shared(void *at, size_t size, uint64_t *block) {
    *block = emulated_block_count;
    memset(at, 0xff, size);
    static_shared += size;
    if (static_shared > SHARED) fail("more than 48 KiB of static shared memory");
    size_t most = running->most_dynamic ? MORE_SHARED : SHARED;
    if (static_shared + std::max(dynamic_shared, (size_t)running->most_dynamic) > most)
        fail("static and dynamic shared memory are more than a block has");
}

void enter(int thread) {
    current = thread;
    uint32_t x = emulated_block_size[0], y = emulated_block_size[1];
    emulated_thread[0] = thread % x;
    emulated_thread[1] = thread / x % y;
    emulated_thread[2] = thread / x / y;
}

// Gives the turn back to the scheduler, which continues this thread later.
void wait_as(State state) {
    int me = current;
    threads[me].state = state;
    emulated_switch(&threads[me].fiber->top, scheduler);
}

void fiber_main() {
    for (;;) {
        // The scheduler started this fiber for a thread.
        int me = current;
        running->call(arguments);
        threads[me].state = DONE;
        Fiber *mine = threads[me].fiber;
        threads[me].fiber = nullptr;
        Warp &warp = warps[me / LANES];
        warp.live--;
        live--;
        if (!waiting_to_start.empty()) {
            int next = waiting_to_start.back();
            waiting_to_start.pop_back();
            threads[next].fiber = mine;
            enter(next);
            continue;
        }
        idle.push_back(mine);
        emulated_switch(&mine->top, scheduler);
    }
}

Fiber *fiber() {
    if (!idle.empty()) {
        Fiber *known = idle.back();
        idle.pop_back();
        return known;
    }
    Fiber *made = new Fiber;
    made->stack = (char *)mmap(nullptr, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (made->stack == MAP_FAILED) fail("no memory for a thread's stack");
    mprotect(made->stack, 4096, PROT_NONE);
    // As after a call: the address to return to lies at a multiple of 16, minus 8 for what the call would have pushed.
    void **top = (void **)(made->stack + STACK - 16);
    *--top = nullptr;
    *--top = (void *)fiber_main;
    for (int i = 0; i < 6; i++) *--top = nullptr;
    made->top = top;
    return made;
}

// Runs a warp until each of its threads waits for the block or has returned.
void run_warp(Warp &warp) {
    waiting_to_start.clear();
    bool fresh = threads[warp.first].state == READY && !threads[warp.first].fiber;
    if (fresh) {
        for (int i = 0; i < warp.size; i++)
            waiting_to_start.push_back(warp.first + (reverse_order ? i : warp.size - 1 - i));
        while (!waiting_to_start.empty()) {
            int next = waiting_to_start.back();
            waiting_to_start.pop_back();
            // A fiber on which a thread has returned waits in its loop; it goes on with `current`.
            threads[next].fiber = fiber();
            enter(next);
            emulated_switch(&scheduler, threads[next].fiber->top);
        }
    }
    for (;;) {
        if (warp.live > 0 && warp.waiting == warp.live) {
            warp.waiting = 0;
            for (int i = 0; i < warp.size; i++) {
                State &state = threads[warp.first + i].state;
                warp.took_part[i] = state == IN_WARP;
                if (state == IN_WARP) state = READY;
            }
        }
        bool any = false;
        for (int i = 0; i < warp.size; i++) {
            int thread = warp.first + (reverse_order ? warp.size - 1 - i : i);
            if (threads[thread].state != READY) continue;
            any = true;
            enter(thread);
            emulated_switch(&scheduler, threads[thread].fiber->top);
        }
        if (!any) break;
    }
}

void run_block(int size) {
    threads.assign(size, Thread{READY, nullptr});
    warps.resize((size + LANES - 1) / LANES);
    for (size_t i = 0; i < warps.size(); i++) {
        Warp &warp = warps[i];
        warp.first = (int)i * LANES;
        warp.size = warp.live = std::min(LANES, size - warp.first);
        warp.waiting = 0;
        memset(warp.took_part, 0, sizeof warp.took_part);
        memset(warp.turn, 0, sizeof warp.turn);
    }
    live = size;
    at_barrier = 0;
    static_shared = 0;
    emulated_block_count++;
    while (live > 0) {
        int before = live;
        for (size_t i = 0; i < warps.size(); i++) run_warp(warps[reverse_order ? warps.size() - 1 - i : i]);
        if (live > 0 && at_barrier == live) {
            at_barrier = 0;
            for (Thread &thread : threads)
                if (thread.state == AT_BARRIER) thread.state = READY;
        } else if (live == before) {
            fail("threads wait for each other: a barrier or an exchange that not all of them reach");
        }
    }
}

extern "C" void emulated_sync_block() {
    at_barrier++;
    wait_as(AT_BARRIER);
}

extern "C" const char *emulated_exchange(const void *value, int size, int kind) {
    Warp &warp = warps[current / LANES];
    int lane = current % LANES;
    int turn = warp.turn[lane] = !warp.turn[lane];
    memcpy(warp.slots[turn][lane], value, size);
    if (warp.waiting > 0 && warp.kind != kind) fail("lanes of a warp wait for different exchanges");
    warp.kind = kind;
    warp.waiting++;
    wait_as(IN_WARP);
    return warps[current / LANES].slots[turn][0];
}

extern "C" bool emulated_took_part(int lane) { return warps[current / LANES].took_part[lane]; }

// --- memory ---------------------------------------------------------------------------------------------------------

constexpr size_t TOTAL = (size_t)16 << 30, PAGE = 4096;
struct Allocation {
    char *start;
    size_t mapped, size;
};
std::map<uintptr_t, Allocation> allocations;
size_t used, most_used;

struct sigaction before;

void on_fault(int, siginfo_t *info, void *) {
    if (running) {
        char text[200];
        int n = snprintf(text, sizeof text, "emulated GPU: kernel %s: address %#zx is outside of the device's memory, or misaligned\n",
                         running->name.c_str(), (size_t)info->si_addr);
        if (write(2, text, n) < 0) {}
    }
    // The access is repeated, and the host's handler reports it.
    sigaction(SIGSEGV, &before, nullptr);
}

// The end of the memory is followed by a page that must not be touched, and its contents are NaN until they are written.
int allocate(uintptr_t *to, size_t size) {
    Lock lock(device);
    if (used + size > TOTAL) return OUT_OF_MEMORY;
    size_t rounded = (size + 15) / 16 * 16, pages = (rounded + PAGE - 1) / PAGE * PAGE;
    char *start = (char *)mmap(nullptr, pages + PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return OUT_OF_MEMORY;
    mprotect(start + pages, PAGE, PROT_NONE);
    memset(start, 0xff, pages);
    *to = (uintptr_t)start + pages - rounded;
    allocations[*to] = Allocation{start, pages + PAGE, size};
    used += size;
    most_used = std::max(most_used, used);
    return SUCCESS;
}

int release(uintptr_t at) {
    Lock lock(device);
    auto found = allocations.find(at);
    if (found == allocations.end()) return INVALID_VALUE;
    // The end may lie a few bytes before the page that must not be touched.
    for (const char *beyond = (const char *)at + found->second.size; (uintptr_t)beyond % 16 != 0; beyond++)
        if (*beyond != '\xff') fail("a kernel wrote beyond the end of the memory that is freed now");
    munmap(found->second.start, found->second.mapped);
    used -= found->second.size;
    allocations.erase(found);
    return SUCCESS;
}

// Where this library lies, and compiled device code beside it.
std::string home() {
    Dl_info info;
    dladdr((void *)home, &info);
    char path[PATH_MAX];
    return realpath(info.dli_fname, path) ? dirname(path) : ".";
}

} // namespace

// --- the driver -----------------------------------------------------------------------------------------------------

extern "C" {

int cuInit(unsigned) {
    static std::once_flag once;
    std::call_once(once, [] {
        const char *order = getenv("EMULATED_GPU_ORDER");
        reverse_order = order && !strcmp(order, "reverse");
        struct sigaction action = {};
        action.sa_sigaction = on_fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaction(SIGSEGV, &action, &before);
    });
    return SUCCESS;
}
int cuGetErrorName(int error, const char **name) {
    switch (error) {
    case OUT_OF_MEMORY: *name = "CUDA_ERROR_OUT_OF_MEMORY"; break;
    case INVALID_DEVICE: *name = "CUDA_ERROR_INVALID_DEVICE"; break;
    case INVALID_CONTEXT: *name = "CUDA_ERROR_INVALID_CONTEXT"; break;
    case INVALID_SOURCE: *name = "CUDA_ERROR_INVALID_SOURCE"; break;
    case OUT_OF_RESOURCES: *name = "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES"; break;
    case NOT_FOUND: *name = "CUDA_ERROR_NOT_FOUND"; break;
    default: *name = "CUDA_ERROR_INVALID_VALUE";
    }
    return SUCCESS;
}
int cuGetErrorString(int error, const char **text) { return cuGetErrorName(error, text); }

int cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
int cuDeviceGet(int *of, int ordinal) {
    *of = 0;
    return ordinal == 0 ? SUCCESS : INVALID_DEVICE;
}
int cuDeviceGetName(char *name, int length, int) { snprintf(name, length, "Emulated GPU"); return SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int) { *bytes = TOTAL; return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int) {
    switch (attribute) {
    case 1: *value = 1024; break;        // threads of a block
    case 8: *value = 48 << 10; break;    // shared memory of a block
    case 10: *value = 32; break;         // lanes of a warp
    case 16: *value = 132; break;        // multiprocessors
    case 75: *value = 9; break;          // compute capability
    case 76: *value = 0; break;
    case 97: *value = 227 << 10; break;  // shared memory on request
    case 115: *value = 1; break;         // memory pools
    default: *value = 0;
    }
    return SUCCESS;
}
int cuDeviceGetUuid_v2(char *uuid, int) { memset(uuid, 0, 16); return SUCCESS; }

int cuDevicePrimaryCtxRetain(void **context, int) { *context = &device; return SUCCESS; }
int cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
int cuCtxSetCurrent(void *context) { bound = context; return SUCCESS; }
int cuCtxGetCurrent(void **context) { *context = bound; return SUCCESS; }
// What needs a current context.
#define IN_CONTEXT() if (!bound) return INVALID_CONTEXT
int cuCtxGetDevice(int *of) { IN_CONTEXT(); *of = 0; return SUCCESS; }
int cuCtxDestroy_v2(void *) { return SUCCESS; }
int cuCtxSynchronize() { IN_CONTEXT(); return SUCCESS; }

int cuStreamCreate(void **stream, unsigned) { IN_CONTEXT(); *stream = malloc(1); return SUCCESS; }
int cuStreamDestroy_v2(void *stream) { free(stream); return SUCCESS; }
int cuStreamSynchronize(void *) { IN_CONTEXT(); return SUCCESS; }
int cuStreamWaitEvent(void *, void *, unsigned) { return SUCCESS; }
int cuStreamIsCapturing(void *, int *status) { *status = 0; return SUCCESS; }

typedef std::chrono::steady_clock Clock;
int cuEventCreate(void **event, unsigned) { IN_CONTEXT(); *event = new Clock::time_point(Clock::now()); return SUCCESS; }
int cuEventDestroy_v2(void *event) { delete (Clock::time_point *)event; return SUCCESS; }
int cuEventRecord(void *event, void *) { *(Clock::time_point *)event = Clock::now(); return SUCCESS; }
int cuEventQuery(void *) { return SUCCESS; }
int cuEventSynchronize(void *) { return SUCCESS; }
int cuEventElapsedTime_v2(float *ms, void *from, void *to) {
    *ms = std::chrono::duration<float, std::milli>(*(Clock::time_point *)to - *(Clock::time_point *)from).count();
    return SUCCESS;
}

int cuMemAlloc_v2(uintptr_t *to, size_t size) {
    IN_CONTEXT();
    return size ? allocate(to, size) : INVALID_VALUE;
}
// A stream implies its context, unless it is the default one. In contrast to cuMemAlloc, 0 bytes are no error here: candle
// asks for them. They lie nowhere.
int cuMemAllocAsync(uintptr_t *to, size_t size, void *stream) {
    if (!stream) IN_CONTEXT();
    *to = 0;
    return size ? allocate(to, size) : SUCCESS;
}
int cuMemFree_v2(uintptr_t at) { IN_CONTEXT(); return release(at); }
int cuMemFreeAsync(uintptr_t at, void *stream) {
    if (!stream) IN_CONTEXT();
    return at ? release(at) : SUCCESS;
}
int cuMemHostAlloc(void **to, size_t size, unsigned) { IN_CONTEXT(); *to = malloc(size); return SUCCESS; }
int cuMemFreeHost(void *at) { free(at); return SUCCESS; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { IN_CONTEXT(); *free = TOTAL - used; *total = TOTAL; return SUCCESS; }
static int copy_bytes(uintptr_t to, uintptr_t from, size_t size) {
    IN_CONTEXT();
    Lock lock(device);
    memmove((void *)to, (const void *)from, size);
    return SUCCESS;
}
int cuMemcpyHtoD_v2(uintptr_t to, uintptr_t from, size_t n) { return copy_bytes(to, from, n); }
int cuMemcpyDtoH_v2(uintptr_t to, uintptr_t from, size_t n) { return copy_bytes(to, from, n); }
int cuMemcpyDtoD_v2(uintptr_t to, uintptr_t from, size_t n) { return copy_bytes(to, from, n); }
int cuMemcpyHtoDAsync_v2(uintptr_t to, uintptr_t from, size_t n, void *) { return copy_bytes(to, from, n); }
int cuMemcpyDtoHAsync_v2(uintptr_t to, uintptr_t from, size_t n, void *) { return copy_bytes(to, from, n); }
int cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t n, void *) { return copy_bytes(to, from, n); }
int cuMemcpyPeerAsync(uintptr_t to, void *, uintptr_t from, void *, size_t n, void *) { return copy_bytes(to, from, n); }
int cuMemsetD8_v2(uintptr_t at, unsigned char value, size_t n) { IN_CONTEXT(); memset((void *)at, value, n); return SUCCESS; }
int cuMemsetD8Async(uintptr_t at, unsigned char value, size_t n, void *) { return cuMemsetD8_v2(at, value, n); }

int cuDeviceGetMemPool(void **pool, int) { *pool = &allocations; return SUCCESS; }
int cuDeviceGetDefaultMemPool(void **pool, int) { return cuDeviceGetMemPool(pool, 0); }
int cuMemPoolSetAttribute(void *, int, void *) { return SUCCESS; }
int cuMemPoolGetAttribute(void *, int, void *value) { *(uint64_t *)value = most_used; return SUCCESS; }
int cuMemPoolTrimTo(void *, size_t) { return SUCCESS; }

// The text is what the compiler left: "emulated" and the path of the source.
int cuModuleLoadData(void **module, const char *text) {
    IN_CONTEXT();
    Lock lock(device);
    char source[PATH_MAX];
    if (sscanf(text, "emulated %4095[^\n]", source) != 1) return INVALID_SOURCE;
    std::string folder = home() + "/device-code";
    mkdir(folder.c_str(), 0777);
    // One process compiles; the others find what it left.
    FILE *turn = fopen((folder + "/lock").c_str(), "w");
    if (!turn) return INVALID_SOURCE;
    flock(fileno(turn), LOCK_EX);
    std::string command = "'" + std::string(EMULATED_COMPILE) + "' '" + source + "' '" + folder + "'";
    FILE *output = popen(command.c_str(), "r");
    char library[PATH_MAX] = "";
    if (output && fgets(library, sizeof library, output)) library[strcspn(library, "\n")] = 0;
    bool compiled = output && pclose(output) == 0;
    fclose(turn);
    if (!compiled) return INVALID_SOURCE;
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (!handle) {
        fprintf(stderr, "emulated GPU: %s\n", dlerror());
        return INVALID_SOURCE;
    }
    *module = new Module{handle, {}};
    return SUCCESS;
}
int cuModuleLoad(void **, const char *) { return INVALID_SOURCE; }
int cuModuleUnload(void *) { return SUCCESS; }
int cuModuleGetFunction(void **function, Module *module, const char *name) {
    IN_CONTEXT();
    Lock lock(device);
    auto known = module->kernels.find(name);
    if (known == module->kernels.end()) {
        auto call = (void (*)(void **))dlsym(module->library, (std::string("emulated_call_") + name).c_str());
        auto threads = (unsigned (*)())dlsym(module->library, (std::string("emulated_bound_") + name).c_str());
        if (!call || !threads) return NOT_FOUND;
        known = module->kernels.emplace(name, Kernel{name, call, threads()}).first;
    }
    *function = &known->second;
    return SUCCESS;
}
int cuModuleGetGlobal_v2(uintptr_t *, size_t *, void *, const char *) { return NOT_FOUND; }
int cuFuncSetAttribute(Kernel *kernel, int attribute, int value) {
    IN_CONTEXT();
    if (attribute == 8) {
        if (value < 0 || value > (int)MORE_SHARED) return INVALID_VALUE;
        kernel->most_dynamic = value;
    }
    return SUCCESS;
}
int cuFuncGetAttribute(int *value, int, void *) { *value = 0; return SUCCESS; }

int cuLaunchKernel(Kernel *kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *, void **params, void **) {
    IN_CONTEXT();
    Lock lock(device);
    size_t size = (size_t)bx * by * bz;
    if (!gx || !gy || !gz || !size || size > 1024 || bz > 64) return INVALID_VALUE;
    if (gx > INT_MAX || gy > 65535 || gz > 65535) return INVALID_VALUE;
    if (size > kernel->most_threads) return OUT_OF_RESOURCES;
    if (shared > (kernel->most_dynamic ? kernel->most_dynamic : SHARED)) return INVALID_VALUE;
    uint32_t block[3] = {bx, by, bz}, grid[3] = {gx, gy, gz};
    memcpy(emulated_block_size, block, sizeof block);
    memcpy(emulated_grid_size, grid, sizeof grid);
    // Its end is checked like that of other memory.
    uintptr_t dynamic = 0;
    if (shared && allocate(&dynamic, shared) != SUCCESS) return OUT_OF_MEMORY;
    emulated_dynamic = (char *)dynamic;
    dynamic_shared = shared;
    running = kernel;
    arguments = params;
    uint64_t blocks = (uint64_t)gx * gy * gz;
    for (uint64_t i = 0; i < blocks; i++) {
        uint64_t at = reverse_order ? blocks - 1 - i : i;
        emulated_block[0] = at % gx;
        emulated_block[1] = at / gx % gy;
        emulated_block[2] = at / gx / gy;
        if (dynamic) memset(emulated_dynamic, 0xff, shared);
        run_block((int)size);
    }
    if (dynamic) release(dynamic);
    running = nullptr;
    return SUCCESS;
}

// --- cuBLAS: matrices column after column -----------------------------------------------------------------------------

enum { R_32F = 0, R_64F = 1, R_16BF = 14, FAST_TF32 = 77, BLAS_NOT_INITIALIZED = 1, BLAS_INVALID = 7 };

int cublasCreate_v2(void **handle) { if (!bound) return BLAS_NOT_INITIALIZED; *handle = malloc(1); return SUCCESS; }
int cublasDestroy_v2(void *handle) { free(handle); return SUCCESS; }
int cublasSetStream_v2(void *, void *) { return SUCCESS; }
int cublasSetMathMode(void *, int) { return SUCCESS; }
int cublasSetWorkspace_v2(void *, void *, size_t) { return SUCCESS; }

} // extern "C"

namespace {

double element(const void *of, int kind, size_t i, bool tf32) {
    if (kind == R_64F) return ((const double *)of)[i];
    uint32_t bits;
    if (kind == R_16BF) bits = (uint32_t)((const uint16_t *)of)[i] << 16;
    else memcpy(&bits, (const float *)of + i, sizeof bits);
    if (tf32 && (bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & 0xffffe000u;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

uint16_t bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return x != x ? 0x7fff : (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// Sums in the operands' precision, in the order of k.
template <typename T>
void multiply(bool ta, bool tb, int m, int n, int k, T alpha, const void *a, int a_kind, int lda, const void *b, int b_kind,
              int ldb, T beta, T *c, int ldc, bool tf32) {
    std::vector<T> left((size_t)m * k), sums(m);
    for (int p = 0; p < k; p++)
        for (int i = 0; i < m; i++)
            left[(size_t)p * m + i] = (T)element(a, a_kind, ta ? (size_t)i * lda + p : (size_t)p * lda + i, tf32);
    for (int j = 0; j < n; j++) {
        std::fill(sums.begin(), sums.end(), (T)0);
        for (int p = 0; p < k; p++) {
            T factor = (T)element(b, b_kind, tb ? (size_t)p * ldb + j : (size_t)j * ldb + p, tf32);
            const T *column = &left[(size_t)p * m];
            for (int i = 0; i < m; i++) sums[i] += column[i] * factor;
        }
        for (int i = 0; i < m; i++) {
            T &to = c[(size_t)j * ldc + i];
            to = beta == (T)0 ? alpha * sums[i] : alpha * sums[i] + beta * to;
        }
    }
}

int gemm(int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_kind, int lda, long long sa, const void *b,
         int b_kind, int ldb, long long sb, const void *beta, void *c, int c_kind, int ldc, long long sc, int count, int compute) {
    if (!bound) return BLAS_NOT_INITIALIZED;
    Lock lock(device);
    if (lda < (ta ? k : m) || ldb < (tb ? n : k) || ldc < m || a_kind != b_kind) return BLAS_INVALID;
    auto offset = [](const void *of, int kind, long long elements) {
        int size = kind == R_64F ? 8 : kind == R_16BF ? 2 : 4;
        return (char *)of + elements * size;
    };
    for (int i = 0; i < count; i++) {
        const void *from_a = offset(a, a_kind, i * sa), *from_b = offset(b, b_kind, i * sb);
        void *to = offset(c, c_kind, i * sc);
        if (c_kind == R_16BF && a_kind == R_16BF) {
            if (*(const float *)beta != 0.0f) return BLAS_INVALID;
            std::vector<float> sums((size_t)m * n);
            multiply<float>(ta, tb, m, n, k, *(const float *)alpha, from_a, a_kind, lda, from_b, b_kind, ldb, 0.0f, sums.data(), m,
                            false);
            for (int j = 0; j < n; j++)
                for (int row = 0; row < m; row++) ((uint16_t *)to)[(size_t)j * ldc + row] = bf16(sums[(size_t)j * m + row]);
        } else if (c_kind == R_32F && (a_kind == R_32F || a_kind == R_16BF))
            multiply<float>(ta, tb, m, n, k, *(const float *)alpha, from_a, a_kind, lda, from_b, b_kind, ldb,
                            *(const float *)beta, (float *)to, ldc, compute == FAST_TF32);
        else if (c_kind == R_64F && a_kind == R_64F)
            multiply<double>(ta, tb, m, n, k, *(const double *)alpha, from_a, a_kind, lda, from_b, b_kind, ldb,
                             *(const double *)beta, (double *)to, ldc, false);
        else
            return BLAS_INVALID;
    }
    return SUCCESS;
}

} // namespace

extern "C" {

int cublasGemmStridedBatchedEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_kind,
                               int lda, long long sa, const void *b, int b_kind, int ldb, long long sb, const void *beta, void *c,
                               int c_kind, int ldc, long long sc, int count, int compute, int) {
    return gemm(ta, tb, m, n, k, alpha, a, a_kind, lda, sa, b, b_kind, ldb, sb, beta, c, c_kind, ldc, sc, count, compute);
}
int cublasGemmEx(void *, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, int a_kind, int lda,
                 const void *b, int b_kind, int ldb, const void *beta, void *c, int c_kind, int ldc, int compute, int) {
    return gemm(ta, tb, m, n, k, alpha, a, a_kind, lda, 0, b, b_kind, ldb, 0, beta, c, c_kind, ldc, 0, 1, compute);
}
int cublasDgemmStridedBatched(void *, int ta, int tb, int m, int n, int k, const double *alpha, const double *a, int lda,
                              long long sa, const double *b, int ldb, long long sb, const double *beta, double *c, int ldc,
                              long long sc, int count) {
    return gemm(ta, tb, m, n, k, alpha, a, R_64F, lda, sa, b, R_64F, ldb, sb, beta, c, R_64F, ldc, sc, count, 0);
}

// --- cuRAND: candle opens a generator with every device; nothing draws from it ------------------------------------------

int curandCreateGenerator(void **generator, int) { *generator = malloc(1); return SUCCESS; }
int curandDestroyGenerator(void *generator) { free(generator); return SUCCESS; }
int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return SUCCESS; }
int curandSetGeneratorOffset(void *, unsigned long long) { return SUCCESS; }
int curandSetStream(void *, void *) { return SUCCESS; }

} // extern "C"
