// A driver for tests on a machine without a GPU: libcuda's calls on host memory, a thread a stream.
// Strict: it wants a current context, knows every allocation, refuses what a capture forbids, and fails when told to.
// Kernels are functions of shared libraries: a module's image is "standin:LIBRARY\nNAME=SIZE,SIZE…\n…".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

typedef int R;
typedef uint64_t P;
enum { OK, INVALID_VALUE, OOM, NOT_INIT, NO_DEVICE = 100, INVALID_DEVICE, INVALID_CONTEXT = 201, INVALID_HANDLE = 400,
       NOT_FOUND = 500, NOT_READY = 600, ILLEGAL_ADDRESS = 700, ALREADY_REGISTERED = 712, NOT_REGISTERED,
       CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901, CAPTURE_UNMATCHED = 903, CAPTURED_EVENT = 907, WRONG_THREAD };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int inited, gpus = 2, sticky, retained[4];
static size_t total_memory = (size_t)8 << 30, used_memory;

// ---- faults: the n-th call of NAME from now fails with a status -------------------------------------------
static char fault_name[64];
static int fault_after, fault_status;
static long counts_alloc, counts_launch, counts_graph;
void standin_fault(const char* name, int after, int status) {
    snprintf(fault_name, sizeof fault_name, "%s", name);
    fault_after = after;
    fault_status = status;
}
static R faulted(const char* name) {
    if (fault_status && !strcmp(name, fault_name) && fault_after-- == 0) {
        int s = fault_status;
        fault_status = 0;
        if (s >= 700 && s < 800) sticky = s;
        return s;
    }
    return OK;
}
void standin_stick(int status) { sticky = status; }
void standin_gpus(int n) { gpus = n; }
long standin_allocations(void) { return counts_alloc; }

// ---- contexts ---------------------------------------------------------------------------------------------
typedef struct { int gpu; } Context;
static Context contexts[4] = {{0}, {1}, {2}, {3}};
static __thread Context* stack[16];
static __thread int depth;
int standin_depth(void) { return depth; }

#define BEGIN(name)                                     \
    if (!inited) return NOT_INIT;                       \
    { R r_ = faulted(name); if (r_) return r_; }        \
    if (sticky) return sticky;
#define CURRENT(name)                                   \
    BEGIN(name)                                         \
    if (!depth || !retained[stack[depth - 1]->gpu]) return INVALID_CONTEXT;

R cuInit(unsigned f) { (void)f; if (!gpus) return NO_DEVICE; inited = 1; return OK; }
R cuDriverGetVersion(int* v) { *v = 13000; return OK; }
R cuDeviceGetCount(int* n) { BEGIN("cuDeviceGetCount") *n = gpus; return OK; }
R cuDeviceGet(int* d, int n) { BEGIN("cuDeviceGet") if (n < 0 || n >= gpus) return INVALID_DEVICE; *d = n; return OK; }
R cuDeviceGetName(char* s, int n, int d) { snprintf(s, n, "Stand-in %d", d); return OK; }
R cuDeviceGetPCIBusId(char* s, int n, int d) { snprintf(s, n, "0000:0%d:00.0", d); return OK; }
R cuDeviceGetAttribute(int* v, int a, int d) {
    *v = a == 75 ? 9 : a == 18 ? getenv("STANDIN_INTEGRATED") != 0 : a == 16 ? 4 : 0;
    (void)d;
    return OK;
}
R cuDevicePrimaryCtxSetFlags_v2(int d, unsigned f) { (void)d; (void)f; return OK; }
R cuDevicePrimaryCtxRetain(void** c, int d) { BEGIN("cuDevicePrimaryCtxRetain") retained[d]++; *c = &contexts[d]; return OK; }
R cuDevicePrimaryCtxRelease_v2(int d) { if (!retained[d]) return INVALID_CONTEXT; retained[d]--; return OK; }
R cuCtxPushCurrent_v2(void* c) {
    BEGIN("cuCtxPushCurrent")
    if (depth == 16 || !c) return INVALID_CONTEXT;
    stack[depth++] = c;
    return OK;
}
R cuCtxPopCurrent_v2(void** c) { if (!depth) return INVALID_CONTEXT; *c = stack[--depth]; return OK; }
R cuCtxGetCurrent(void** c) { *c = depth ? stack[depth - 1] : 0; return OK; }
R cuCtxGetStreamPriorityRange(int* low, int* high) { CURRENT("cuCtxGetStreamPriorityRange") *low = 0; *high = -5; return OK; }

// ---- memory -----------------------------------------------------------------------------------------------
typedef struct Alloc { P at; size_t size; char kind; struct Alloc* next; } Alloc;  // d: device, h: pinned, r: registered
static Alloc* allocs;
static R keep(P at, size_t n, char kind) {
    Alloc* a = malloc(sizeof *a);
    pthread_mutex_lock(&lock);
    *a = (Alloc){at, n, kind, allocs};
    allocs = a;
    if (kind == 'd') used_memory += n;
    counts_alloc++;
    pthread_mutex_unlock(&lock);
    return OK;
}
// the device's view of registered pages: elsewhere, as where an address is wrong or a cache was not flushed
static int lying;
void standin_lie(int on) { lying = on; }
static R drop(P at, char kind, R missing) {
    pthread_mutex_lock(&lock);
    for (Alloc** p = &allocs; *p; p = &(*p)->next)
        if ((*p)->at == at && (*p)->kind == kind) {
            Alloc* a = *p;
            *p = a->next;
            if (kind == 'd') used_memory -= a->size;
            pthread_mutex_unlock(&lock);
            if (kind == 'd') munmap((void*)at, a->size);
            if (kind == 'h') munmap((void*)at, a->size);
            free(a);
            return OK;
        }
    pthread_mutex_unlock(&lock);
    return missing;
}
static int known(P at, size_t n) {
    int found = 0;
    pthread_mutex_lock(&lock);
    for (Alloc* a = allocs; a && !found; a = a->next) found = at >= a->at && at + n <= a->at + a->size;
    pthread_mutex_unlock(&lock);
    return found;
}
int standin_live(char kind) {
    int n = 0;
    pthread_mutex_lock(&lock);
    for (Alloc* a = allocs; a; a = a->next) n += a->kind == kind;
    pthread_mutex_unlock(&lock);
    return n;
}
int standin_known(P at, size_t n) { return known(at, n); }
static R make(P* at, size_t n, char kind) {
    if (!n) return INVALID_VALUE;
    if (n > total_memory - used_memory) return OOM;
    void* p = mmap(0, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return OOM;
    *at = (P)p;
    return keep(*at, n, kind);
}
R cuMemGetInfo_v2(size_t* f, size_t* t) { CURRENT("cuMemGetInfo") *t = total_memory; *f = total_memory - used_memory; return OK; }
R cuMemAlloc_v2(P* at, size_t n) { CURRENT("cuMemAlloc") return make(at, n, 'd'); }
R cuMemFree_v2(P at) { CURRENT("cuMemFree") return drop(at, 'd', INVALID_VALUE); }
R cuMemHostAlloc(void** p, size_t n, unsigned f) { CURRENT("cuMemHostAlloc") (void)f; return make((P*)p, n, 'h'); }
R cuMemFreeHost(void* p) { CURRENT("cuMemFreeHost") return drop((P)p, 'h', INVALID_VALUE); }
R cuMemHostGetDevicePointer_v2(P* at, void* p, unsigned f) {
    CURRENT("cuMemHostGetDevicePointer")
    (void)f;
    if (!known((P)p, 1)) return INVALID_VALUE;
    static char elsewhere[1 << 20];
    int registered = 0;
    pthread_mutex_lock(&lock);
    for (Alloc* a = allocs; a; a = a->next) registered |= a->kind == 'r' && a->at == (P)p;
    pthread_mutex_unlock(&lock);
    *at = (P)p;
    if (lying && registered) {
        if (!known((P)elsewhere, 1)) keep((P)elsewhere, sizeof elsewhere, 'l');
        *at = (P)elsewhere;
    }
    return OK;
}
R cuMemHostRegister_v2(void* p, size_t n, unsigned f) {
    CURRENT("cuMemHostRegister")
    (void)f;
    if (known((P)p, 1)) return ALREADY_REGISTERED;
    return keep((P)p, n, 'r');
}
R cuMemHostUnregister(void* p) { CURRENT("cuMemHostUnregister") return drop((P)p, 'r', NOT_REGISTERED); }
R cuMemsetD8_v2(P at, unsigned char v, size_t n) {
    CURRENT("cuMemsetD8")
    if (!known(at, n)) return INVALID_VALUE;
    memset((void*)at, v, n);
    return OK;
}
R cuMemcpy(P to, P from, size_t n) { CURRENT("cuMemcpy") memcpy((void*)to, (void*)from, n); return OK; }
// a dmabuf is any descriptor that can be mapped; supported when a test says so
typedef struct { int type; int pad; union { int fd; void* both[2]; } handle; unsigned long long size; unsigned flags, reserved[16]; } HandleDesc;
typedef struct { unsigned long long offset, size; unsigned flags, reserved[16]; } BufferDesc;
typedef struct { P at; size_t n; } External;
static int dmabufs, externals;
void standin_dmabufs(int on) { dmabufs = on; }
int standin_externals(void) { return externals; }
R cuImportExternalMemory(void** m, const void* d) {
    CURRENT("cuImportExternalMemory")
    const HandleDesc* desc = d;
    if (!dmabufs || desc->type != 9) return 801;
    void* p = mmap(0, desc->size, PROT_READ | PROT_WRITE, MAP_SHARED, desc->handle.fd, 0);
    if (p == MAP_FAILED) return INVALID_VALUE;
    External* made = malloc(sizeof *made);
    *made = (External){(P)p, desc->size};
    externals++;
    *m = made;
    return OK;
}
R cuExternalMemoryGetMappedBuffer(P* at, void* m, const void* d) {
    CURRENT("cuExternalMemoryGetMappedBuffer")
    External* e = m;
    const BufferDesc* desc = d;
    if (desc->offset + desc->size > e->n) return INVALID_VALUE;
    // a mapping of its own, which cuMemFree gives back
    void* p = mremap((void*)e->at, 0, desc->size, MREMAP_MAYMOVE);
    if (p == MAP_FAILED) return OOM;
    *at = (P)p;
    return keep(*at, desc->size, 'd');
}
R cuDestroyExternalMemory(void* m) {
    CURRENT("cuDestroyExternalMemory")
    External* e = m;
    munmap((void*)e->at, e->n);
    free(e);
    externals--;
    return OK;
}

// ---- modules ----------------------------------------------------------------------------------------------
typedef void (*Kernel)(const int* grid, const int* block, void** args);
typedef struct { void* library; char* text; } ModuleImage;
typedef struct { Kernel run; int n, sizes[16]; } Function;
R cuModuleLoadData(void** m, const char* image) {
    CURRENT("cuModuleLoadData")
    if (strncmp(image, "standin:", 8)) return 200;
    char* text = strdup(image + 8);
    char* line = strchr(text, '\n');
    if (line) *line++ = 0;
    void* library = dlopen(text, RTLD_NOW | RTLD_LOCAL);
    if (!library) return 301;
    ModuleImage* made = malloc(sizeof *made);
    *made = (ModuleImage){library, strdup(line ? line : "")};
    free(text);
    *m = made;
    return OK;
}
R cuModuleUnload(void* m) { CURRENT("cuModuleUnload") free(((ModuleImage*)m)->text); free(m); return OK; }
R cuModuleGetFunction(void** f, void* m, const char* name) {
    CURRENT("cuModuleGetFunction")
    char symbol[128];
    snprintf(symbol, sizeof symbol, "call_%s", name);
    Kernel run = (Kernel)dlsym(((ModuleImage*)m)->library, symbol);
    if (!run) return NOT_FOUND;
    Function* made = calloc(1, sizeof *made);
    made->run = run;
    snprintf(symbol, sizeof symbol, "%s=", name);
    char* at = strstr(((ModuleImage*)m)->text, symbol);
    for (at = at ? at + strlen(symbol) : 0; at && *at && *at != '\n'; at += *at == ',')
        made->sizes[made->n++] = (int)strtol(at, &at, 10);
    *f = made;
    return OK;
}
R cuFuncGetAttribute(int* v, int a, void* f) { (void)a; (void)f; *v = 0; return OK; }

// ---- streams: a thread and a queue of nodes -----------------------------------------------------------------
typedef struct Event { long seq, done; struct timespec at; int alive, external; } Event;
typedef struct Node {
    char kind;  // k: kernel, c: copy, h: host, e: event, g: graph
    Function* function;
    int grid[3], block[3];
    char args[16][256];
    P to, from;
    size_t n;
    void (*host)(void*);
    void* data;
    Event* event;
    long seq;
    struct Graph* graph;
    struct Node* next;
} Node;
typedef struct Graph { Node* first; Node** last; size_t n; int instantiated; } Graph;
typedef struct Stream {
    pthread_t thread;
    pthread_cond_t changed;
    Node *first, **last;
    int pending, ending, alive;
    Graph* capture;
    pthread_t capturer;
    int invalid;
    struct Stream* next;
} Stream;
static Stream* streams;
static pthread_cond_t happened = PTHREAD_COND_INITIALIZER;

static void run(Node* n) {
    void* args[16];
    if (sticky) { if (n->kind != 'e') return; }
    switch (n->kind) {
        case 'k':
            for (int i = 0; i < 16; i++) args[i] = n->args[i];
            n->function->run(n->grid, n->block, args);
            break;
        case 'c':
            if (!known(n->to, n->n) || !known(n->from, n->n)) sticky = ILLEGAL_ADDRESS;
            else memcpy((void*)n->to, (void*)n->from, n->n);
            break;
        case 'h': n->host(n->data); break;
        case 'e':
            pthread_mutex_lock(&lock);
            clock_gettime(CLOCK_MONOTONIC, &n->event->at);
            n->event->done = n->seq ? n->seq : n->event->seq;
            pthread_mutex_unlock(&lock);
            break;
        case 'g': for (Node* m = n->graph->first; m; m = m->next) run(m); break;
    }
}
static void* serve(void* p) {
    Stream* s = p;
    pthread_mutex_lock(&lock);
    for (;;) {
        while (!s->first && !s->ending) pthread_cond_wait(&s->changed, &lock);
        if (!s->first) break;
        Node* n = s->first;
        s->first = n->next;
        if (!s->first) s->last = &s->first;
        pthread_mutex_unlock(&lock);
        run(n);
        free(n);
        pthread_mutex_lock(&lock);
        s->pending--;
        pthread_cond_broadcast(&happened);
    }
    pthread_mutex_unlock(&lock);
    return 0;
}
// the stand-in reports a fault from the thread that asks, as the driver does; helpers for kernels:
void standin_illegal(void) { sticky = ILLEGAL_ADDRESS; }

static R enqueue(Stream* s, Node n) {
    Node* made = malloc(sizeof n);
    *made = n;
    made->next = 0;
    if (s->capture) {
        if (!pthread_equal(s->capturer, pthread_self())) { free(made); return WRONG_THREAD; }
        *s->capture->last = made;
        s->capture->last = &made->next;
        s->capture->n++;
        return OK;
    }
    pthread_mutex_lock(&lock);
    *s->last = made;
    s->last = &made->next;
    s->pending++;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&lock);
    return OK;
}
static Stream* stream_of(void* p) {
    Stream* found = 0;
    pthread_mutex_lock(&lock);
    for (Stream* s = streams; s && !found; s = s->next) if (s == p && s->alive) found = s;
    pthread_mutex_unlock(&lock);
    return found;
}
#define STREAM(name)           \
    CURRENT(name)              \
    Stream* s = stream_of(p);  \
    if (!s) return INVALID_HANDLE;

R cuStreamCreateWithPriority(void** p, unsigned f, int priority) {
    CURRENT("cuStreamCreateWithPriority")
    if (f != 1 || priority > 0 || priority < -5) return INVALID_VALUE;
    Stream* s = calloc(1, sizeof *s);
    s->last = &s->first;
    s->alive = 1;
    pthread_cond_init(&s->changed, 0);
    pthread_create(&s->thread, 0, serve, s);
    pthread_mutex_lock(&lock);
    s->next = streams;
    streams = s;
    pthread_mutex_unlock(&lock);
    *p = s;
    return OK;
}
static void drain(Stream* s) {
    pthread_mutex_lock(&lock);
    while (s->pending) pthread_cond_wait(&happened, &lock);
    pthread_mutex_unlock(&lock);
}
R cuStreamDestroy_v2(void* p) {
    STREAM("cuStreamDestroy")
    if (s->capture) return CAPTURE_UNMATCHED;
    pthread_mutex_lock(&lock);
    s->ending = 1;
    s->alive = 0;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&lock);
    pthread_join(s->thread, 0);
    return OK;
}
R cuStreamSynchronize(void* p) {
    if (!p) { CURRENT("cuStreamSynchronize") return sticky; }  // the default stream's work is done when it is queued
    STREAM("cuStreamSynchronize")
    if (s->capture) { s->invalid = 1; return CAPTURE_UNSUPPORTED; }
    drain(s);
    return sticky;
}
R cuStreamQuery(void* p) {
    CURRENT("cuStreamQuery")
    Stream* s = p ? stream_of(p) : 0;
    return s && s->pending ? NOT_READY : OK;
}
R cuCtxSynchronize(void) {
    CURRENT("cuCtxSynchronize")
    for (Stream* s = streams; s; s = s->next) if (s->alive) drain(s);
    return sticky;
}
int standin_streams(void) { int n = 0; for (Stream* s = streams; s; s = s->next) n += s->alive; return n; }

// ---- events -------------------------------------------------------------------------------------------------
static int events_alive;
int standin_events(void) { return events_alive; }
R cuEventCreate(void** p, unsigned f) { CURRENT("cuEventCreate") (void)f; Event* e = calloc(1, sizeof *e); e->alive = 1; events_alive++; *p = e; return OK; }
R cuEventDestroy_v2(void* p) {
    CURRENT("cuEventDestroy")
    Event* e = p;
    if (!e || !e->alive) return INVALID_HANDLE;
    e->alive = 0;
    events_alive--;
    return OK;  // never freed: a use after this is found out
}
R cuEventRecord(void* ev, void* p) {
    STREAM("cuEventRecord")
    Event* e = ev;
    if (!e || !e->alive) return INVALID_HANDLE;
    if (s->capture) { s->invalid = 1; return CAPTURED_EVENT; }  // nothing of ours forks inside a capture
    long seq = ++e->seq;
    return enqueue(s, (Node){.kind = 'e', .event = e, .seq = seq});
}
R cuEventRecordWithFlags(void* ev, void* p, unsigned f) {
    STREAM("cuEventRecordWithFlags")
    Event* e = ev;
    if (!e || !e->alive || f != 1 || !s->capture) return INVALID_VALUE;
    e->seq = e->external = 1;
    return enqueue(s, (Node){.kind = 'e', .event = e, .seq = 0});
}
R cuEventQuery(void* ev) {
    CURRENT("cuEventQuery")
    Event* e = ev;
    if (!e || !e->alive) return INVALID_HANDLE;
    return e->done == e->seq ? OK : NOT_READY;
}
R cuEventSynchronize(void* ev) {
    CURRENT("cuEventSynchronize")
    Event* e = ev;
    if (!e || !e->alive) return INVALID_HANDLE;
    pthread_mutex_lock(&lock);
    while (e->done != e->seq) pthread_cond_wait(&happened, &lock);
    pthread_mutex_unlock(&lock);
    return sticky;
}
R cuEventElapsedTime(float* ms, void* a, void* b) {
    CURRENT("cuEventElapsedTime")
    Event *x = a, *y = b;
    if (!x->alive || !y->alive || !x->seq || !y->seq) return INVALID_HANDLE;
    if (x->done != x->seq || y->done != y->seq) return NOT_READY;
    *ms = (y->at.tv_sec - x->at.tv_sec) * 1e3f + (y->at.tv_nsec - x->at.tv_nsec) / 1e6f;
    return OK;
}

// ---- work ---------------------------------------------------------------------------------------------------
R cuMemcpyAsync(P to, P from, size_t n, void* p) {
    STREAM("cuMemcpyAsync")
    if (!known(to, n) || !known(from, n)) return INVALID_VALUE;
    return enqueue(s, (Node){.kind = 'c', .to = to, .from = from, .n = n});
}
R cuLaunchHostFunc(void* p, void (*fn)(void*), void* data) {
    STREAM("cuLaunchHostFunc")
    return enqueue(s, (Node){.kind = 'h', .host = fn, .data = data});
}
R cuLaunchKernel(void* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                 void* p, void** args, void** extra) {
    STREAM("cuLaunchKernel")
    (void)shared; (void)extra;
    if (!gx || !gy || !gz || !bx || bx * by * bz > 1024) return INVALID_VALUE;
    Function* fn = f;
    Node n = {.kind = 'k', .function = fn, .grid = {gx, gy, gz}, .block = {bx, by, bz}};
    for (int i = 0; i < fn->n; i++) memcpy(n.args[i], args[i], fn->sizes[i]);
    counts_launch++;
    return enqueue(s, n);
}

// ---- graphs -------------------------------------------------------------------------------------------------
R cuStreamBeginCapture_v2(void* p, int mode) {
    STREAM("cuStreamBeginCapture")
    if (mode != 1) return INVALID_VALUE;
    if (s->capture) return CAPTURE_UNSUPPORTED;
    s->capture = calloc(1, sizeof(Graph));
    s->capture->last = &s->capture->first;
    s->capturer = pthread_self();
    s->invalid = 0;
    return OK;
}
R cuStreamEndCapture(void* p, void** g) {
    STREAM("cuStreamEndCapture")
    if (!s->capture) return CAPTURE_UNMATCHED;
    Graph* made = s->capture;
    s->capture = 0;
    *g = 0;
    if (s->invalid) { free(made); return CAPTURE_INVALIDATED; }
    *g = made;
    return OK;
}
R cuStreamIsCapturing(void* p, int* on) { STREAM("cuStreamIsCapturing") *on = s->capture != 0; return OK; }
static int graphs_alive;
int standin_graphs(void) { return graphs_alive; }
R cuGraphGetNodes(void* g, void** nodes, size_t* n) { CURRENT("cuGraphGetNodes") (void)nodes; *n = ((Graph*)g)->n; return OK; }
R cuGraphInstantiateWithFlags(void** e, void* g, uint64_t f) {
    CURRENT("cuGraphInstantiate")
    (void)f;
    Graph* copy = calloc(1, sizeof *copy);
    copy->last = &copy->first;
    copy->instantiated = 1;
    for (Node* n = ((Graph*)g)->first; n; n = n->next) {
        Node* m = malloc(sizeof *m);
        *m = *n;
        m->next = 0;
        *copy->last = m;
        copy->last = &m->next;
    }
    graphs_alive++;
    *e = copy;
    return OK;
}
R cuGraphUpload(void* e, void* p) { STREAM("cuGraphUpload") (void)e; return OK; }
R cuGraphDestroy(void* g) { CURRENT("cuGraphDestroy") ((Graph*)g)->first = 0; return OK; }
R cuGraphExecDestroy(void* e) {
    CURRENT("cuGraphExecDestroy")
    Graph* g = e;
    if (!g->instantiated) return INVALID_HANDLE;
    g->instantiated = 0;
    graphs_alive--;
    return OK;  // its nodes stay: it may still run
}
R cuGraphLaunch(void* e, void* p) {
    STREAM("cuGraphLaunch")
    Graph* g = e;
    if (!g->instantiated) return INVALID_HANDLE;
    if (s->capture) return CAPTURE_UNSUPPORTED;
    counts_graph++;
    return enqueue(s, (Node){.kind = 'g', .graph = g});
}
long standin_graph_launches(void) { return counts_graph; }

static const struct { int code; const char *name, *text; } WORDS[] = {
    {0, "CUDA_SUCCESS", "no error"}, {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"}, {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"}, {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"}, {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"}, {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"}, {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"}, {712, "CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED", "already mapped"},
    {713, "CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED", "not mapped"}, {801, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"}, {900, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
    {901, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};
static const char* word(int code, int text) {
    for (unsigned i = 0; i < sizeof WORDS / sizeof *WORDS; i++) if (WORDS[i].code == code) return text ? WORDS[i].text : WORDS[i].name;
    return 0;
}
R cuGetErrorName(int code, const char** s) { *s = word(code, 0); return *s ? OK : INVALID_VALUE; }
R cuGetErrorString(int code, const char** s) { *s = word(code, 1); return *s ? OK : INVALID_VALUE; }
