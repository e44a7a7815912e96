// Device programs of cgroup v2, as an inner engine loads and attaches them: verbs of inside.c.
#include <linux/bpf.h>
#include <sys/wait.h>

static int bpf(int command, union bpf_attr *attr) { return syscall(SYS_bpf, command, attr, sizeof *attr); }

// r0 = VERDICT; exit
#define VERDICT(verdict) {{.code = BPF_ALU | BPF_MOV | BPF_K, .imm = verdict}, {.code = BPF_JMP | BPF_EXIT}}

static int load_as(unsigned type, const struct bpf_insn *code, unsigned count) {
    static char log[1024];
    union bpf_attr attr = {.prog_type = type, .insns = (__u64)code, .insn_cnt = count, .license = (__u64) "MIT",
                           .log_level = 1, .log_buf = (__u64)log, .log_size = sizeof log, .prog_name = "inner"};
    return bpf(BPF_PROG_LOAD, &attr);
}

static int load_verdict(int verdict) {
    struct bpf_insn code[] = VERDICT(verdict);
    return load_as(BPF_PROG_TYPE_CGROUP_DEVICE, code, 2);
}

static int attach_to(int group, int program, unsigned flags, int replaced) {
    union bpf_attr attr = {.target_fd = group, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE,
                           .attach_flags = flags, .replace_bpf_fd = replaced};
    return bpf(BPF_PROG_ATTACH, &attr);
}

static int detach_from(int group, int program) {
    union bpf_attr attr = {.target_fd = group, .attach_bpf_fd = program, .attach_type = BPF_CGROUP_DEVICE};
    return bpf(BPF_PROG_DETACH, &attr);
}

static int query_of(int group, unsigned flags, __u32 *ids, __u32 room, __u32 *count) {
    union bpf_attr attr = {.query = {.target_fd = group, .attach_type = BPF_CGROUP_DEVICE, .query_flags = flags,
                                     .prog_ids = (__u64)ids, .prog_cnt = room}};
    int result = bpf(BPF_PROG_QUERY, &attr);
    *count = attr.query.prog_cnt;
    return result;
}

static int program_by_id(__u32 id) {
    union bpf_attr attr = {.prog_id = id};
    return bpf(BPF_PROG_GET_FD_BY_ID, &attr);
}

static void said(const char *what, long result) { printf("%s %s\n", what, error_name(result)); }

// What a process in the group is told that opens a device.
static void opened_in(const char *what, const char *group, const char *device) {
    char path[256];
    fflush(stdout);
    pid_t child = need(fork());
    if (child == 0) {
        snprintf(path, sizeof path, "%s/cgroup.procs", group);
        put(path, "0");
        said(what, open(device, O_RDWR | O_CLOEXEC));
        fflush(stdout);
        _exit(0);
    }
    need(waitpid(child, NULL, 0));
}

static void *load_in_thread(void *unused) {
    (void)unused;
    return (void *)(long)load_verdict(1);
}

// device-program GROUP: an engine's way with a group of cgroup v2, step by step, with what each is told. GROUP is there.
static void device_program(char **args) {
    char below[256];
    void *threads;
    __u32 ids[4], count;
    int group = need(open(args[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    snprintf(below, sizeof below, "%s/below", args[0]);
    make_dir(below);
    opened_in("without", args[0], "/dev/null");
    int deny = load_verdict(0), allow = load_verdict(1);
    said("load", deny < allow ? deny : allow);
    need(pthread_join(start(load_in_thread, NULL), &threads));
    said("load in a thread", (long)threads);
    printf("close-on-exec %d\n", fcntl(deny, F_GETFD));
    said("attach", attach_to(group, deny, BPF_F_ALLOW_MULTI, 0));
    opened_in("denied", args[0], "/dev/null");
    opened_in("denied below", below, "/dev/null");
    int inner = need(open(below, O_PATH | O_DIRECTORY | O_CLOEXEC));
    said("allow below", attach_to(inner, allow, BPF_F_ALLOW_OVERRIDE, 0));
    opened_in("denied all the same", below, "/dev/null");
    said("query", query_of(group, 0, ids, 4, &count));
    printf("programs %u\n", count);
    int found = program_by_id(ids[0]);
    said("by id", found);
    struct bpf_prog_info info = {0};
    union bpf_attr attr = {.info = {.bpf_fd = found, .info_len = sizeof info, .info = (__u64)&info}};
    said("info", bpf(BPF_OBJ_GET_INFO_BY_FD, &attr));
    printf("it is %s, %d %d\n", info.name, info.id == ids[0], info.created_by_uid);
    said("replace", attach_to(group, allow, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, found));
    opened_in("allowed", args[0], "/dev/null");
    said("add", attach_to(group, deny, BPF_F_ALLOW_MULTI, 0));
    said("query for less", query_of(group, 0, ids, 1, &count));
    printf("programs %u\n", count);
    said("detach", detach_from(group, deny));
    said("detach again", detach_from(group, deny));
    opened_in("allowed again", args[0], "/dev/null");
    said("replace nothing", attach_to(need(open("/dev/null", O_RDONLY)), allow, BPF_F_ALLOW_MULTI | BPF_F_REPLACE, allow));
    exit(0);
}

// attach PATH: attaches a program that denies everything.
static void attach(char **args) {
    int group = need(open(args[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    need(attach_to(group, need(load_verdict(0)), BPF_F_ALLOW_MULTI, 0));
}

// bpf-refused OWN BELOW: all that is refused, to a container whose own group is OWN, with what each is told.
static void bpf_refused(char **args) {
    const struct bpf_insn plain[] = VERDICT(1);
    const struct bpf_insn helper[] = {{.code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_ktime_get_ns}, {.code = BPF_JMP | BPF_EXIT}};
    const struct bpf_insn loop[] = {{.code = BPF_ALU | BPF_MOV | BPF_K, .imm = 1}, {.code = BPF_JMP | BPF_JA, .off = -1},
                                    {.code = BPF_JMP | BPF_EXIT}};
    const struct bpf_insn leak[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_X, .src_reg = 10}, {.code = BPF_JMP | BPF_EXIT}};
    __u32 ids[64], count;
    int own = need(open(args[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    int allow = load_verdict(1);
    said("load", allow);
    said("its own group", attach_to(own, allow, BPF_F_ALLOW_MULTI, 0));
    said("what its own group has", query_of(own, 0, ids, 64, &count));
    said("and those above", query_of(own, BPF_F_QUERY_EFFECTIVE, ids, 64, &count));
    said("detach from its own", detach_from(own, allow));
    said("the parent of its mount", attach_to(need(openat(own, "..", O_PATH)), allow, BPF_F_ALLOW_MULTI, 0));
    said("no group", attach_to(need(open("/", O_RDONLY)), allow, BPF_F_ALLOW_MULTI, 0));
    said("no descriptor", attach_to(999, allow, BPF_F_ALLOW_MULTI, 0));
    said("a socket filter", load_as(BPF_PROG_TYPE_SOCKET_FILTER, plain, 2));
    said("a kprobe", load_as(BPF_PROG_TYPE_KPROBE, plain, 2));
    said("a cgroup's packets", load_as(BPF_PROG_TYPE_CGROUP_SKB, leak, 2));
    int packets = load_as(BPF_PROG_TYPE_CGROUP_SKB, plain, 2);
    said("a library's try", packets);
    said("as a device's", attach_to(need(open(args[1], O_RDONLY)), packets, BPF_F_ALLOW_MULTI, 0));
    union bpf_attr ingress = {.target_fd = own, .attach_bpf_fd = packets, .attach_type = BPF_CGROUP_INET_INGRESS};
    said("as packets'", bpf(BPF_PROG_ATTACH, &ingress));
    said("a helper", load_as(BPF_PROG_TYPE_CGROUP_DEVICE, helper, 2));
    said("a loop", load_as(BPF_PROG_TYPE_CGROUP_DEVICE, loop, 3));
    said("a pointer", load_as(BPF_PROG_TYPE_CGROUP_DEVICE, leak, 2));
    union bpf_attr map = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};
    said("a map", bpf(BPF_MAP_CREATE, &map));
    union bpf_attr next = {.start_id = 0};
    said("the next program", bpf(BPF_PROG_GET_NEXT_ID, &next));
    union bpf_attr link = {.link_create = {.prog_fd = allow, .target_fd = own, .attach_type = BPF_CGROUP_DEVICE}};
    said("a link", bpf(BPF_LINK_CREATE, &link));
    // Of those that were loaded shortly before its own, and its own.
    struct bpf_prog_info info = {0};
    union bpf_attr ask = {.info = {.bpf_fd = allow, .info_len = sizeof info, .info = (__u64)&info}};
    bpf(BPF_OBJ_GET_INFO_BY_FD, &ask);
    int found = 0;
    for (__u32 id = info.id > 1000 ? info.id - 1000 : 1; id <= info.id; id++) found += program_by_id(id) >= 0;
    printf("programs %d\n", found);
    exit(0);
}

// many-programs: how many a container can load, and what it is told then.
static void many_programs(char **args) {
    (void)args;
    struct rlimit most = {4096, 4096};
    int count = 0;
    setrlimit(RLIMIT_NOFILE, &most);
    while (load_verdict(0) >= 0) count++;
    printf("%d %s\n", count, strerrorname_np(errno));
    exit(0);
}
