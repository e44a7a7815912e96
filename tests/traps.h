// Who calls what is trapped (docs/syscalls.md): many at once, from odd places, with memory and paths that change meanwhile. Verbs of
// inside.c.
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/vfs.h>

// <sys/mount.h> of newer C libraries has the names of inside.c's own wrappers.
extern int mount(const char *, const char *, const char *, unsigned long, const void *);
extern int umount2(const char *, int);
#define MNT_DETACH 2
#define PROC_MAGIC 0x9fa0

static const char *error_name(long result) { return result < 0 ? strerrorname_np(errno) : "done"; }

static volatile int stop;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static pthread_t start(void *(*work)(void *), void *with) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, work, with)) refused();
    return thread;
}

static void make_dir(const char *path) {
    if (mkdir(path, 0755) < 0 && errno != EEXIST) refused();
}

// What lies at `name` below `dir`: 0 no procfs, 1 one that is emulated and masked as the container's own is, -1 one that is not.
static int procfs_at(int dir, const char *name) {
    struct statfs fs;
    struct stat own, its;
    int at = openat(dir, name, O_PATH | O_DIRECTORY | O_CLOEXEC), kind = 0;
    if (at < 0) return 0;
    if (fstatfs(at, &fs) == 0 && fs.f_type == PROC_MAGIC) {
        kind = stat("/proc/uptime", &own) == 0 && fstatat(at, "uptime", &its, 0) == 0 && own.st_dev == its.st_dev &&
                       own.st_ino == its.st_ino && fstatat(at, "keys", &its, 0) == 0 && S_ISCHR(its.st_mode) &&
                       faccessat(at, "sys/kernel/domainname", W_OK, 0) < 0
                   ? 1
                   : -1;
    }
    close(at);
    return kind;
}

static int mount_count(void) {
    int count = 0;
    FILE *file = fopen("/proc/self/mountinfo", "re");
    if (!file) refused();
    for (int c; (c = getc(file)) != EOF;) count += c == '\n';
    fclose(file);
    return count;
}

// How many ways act_somehow() has.
#define WAYS 12

// What the threads of mount-race change all the time.
static volatile char type[8] = "proc", target[] = "/tmp/r/a", source[] = "/proc";
static char descriptor_path[32], descriptor_node[48];
static int places[2], moving;

static void *flip_strings(void *unused) {
    for (unsigned turn = 0; !stop; turn++) {
        strcpy((char *)type, turn & 1 ? "tmpfs" : "proc");
        target[7] = turn & 2 ? 'a' : 'b';
        strcpy((char *)source, turn & 4 ? "/sys" : "/proc");
    }
    return unused;
}

static void *flip_files(void *unused) {
    for (unsigned turn = 0; !stop; turn++) {
        dup3(places[turn & 1], moving, O_CLOEXEC);
        // Threads have one working directory.
        if (chdir(turn & 1 ? "/tmp/r/c" : "/tmp/r/d") < 0) refused();
        syscall(SYS_renameat2, AT_FDCWD, "/tmp/r/way", AT_FDCWD, "/tmp/r/link", RENAME_EXCHANGE);
    }
    return unused;
}

// What there was: procfs, those that were not as the container's own, nodes of null, and what stood in place of such a node.
static long procs, bare, nodes, wrong;

static void see_procfs(int dir, const char *name) {
    int kind = procfs_at(dir, name);
    procs += kind != 0;
    bare += kind < 0;
}

static long make_node(const char *path) { return mknod(path, S_IFCHR | 0666, makedev(1, 3)); }

// Of what a string names, to be seen before it is anywhere.
static long clone_somehow(const char *path, const char *at) {
    int tree = open_tree(path, OPEN_TREE_CLONE);
    if (tree < 0) return -1;
    see_procfs(tree, ".");
    long moved = move_mount(tree, at);
    close(tree);
    return moved;
}

// One of the ways to mount something or to make a node, of which strings change meanwhile.
static long act_somehow(unsigned way) {
    const char *kind = (const char *)type, *at = (const char *)target;
    switch (way % WAYS) {
        case 0: return mount("none", at, kind, 0, NULL);
        case 1: return mount("none", descriptor_path, kind, 0, NULL);
        case 2: return mount("none", "/tmp/r/way/x", kind, 0, NULL);
        case 3: return mount("none", "x", kind, 0, NULL);
        case 4: return mount((const char *)source, at, NULL, MS_BIND, NULL);
        case 5: return mount("none", at, kind, MS_REMOUNT | (way & 8 ? MS_RDONLY : 0), NULL);
        case 6: return umount2(at, 0);
        case 7: return make_node(descriptor_node);
        case 8: return make_node("node");
        case 9: return make_node("/tmp/r/way/node");
        case 10: return clone_somehow(way & 16 ? (const char *)source : at, way & 32 ? "/tmp/r/c/x" : "/tmp/r/a");
        default: break;
    }
    int context = syscall(SYS_fsopen, kind, FSOPEN_CLOEXEC), made;
    if (context < 0) return -1;
    syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
    made = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    close(context);
    long moved = made < 0 ? -1 : move_mount(made, at);
    if (made >= 0) close(made);
    return moved;
}

static void clear(int dir, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir, name);
    while (umount2(path, MNT_DETACH) == 0) continue;
}

// Looks at a node and takes it away.
static void see_node(int dir) {
    struct stat its;
    if (fstatat(dir, "node", &its, AT_SYMLINK_NOFOLLOW) < 0) return;
    nodes++;
    wrong += !S_ISCHR(its.st_mode) || its.st_rdev != makedev(1, 3);
    clear(dir, "node");
    unlinkat(dir, "node", 0);
}

// mount-race SECONDS: mounts, clones and nodes, while threads change the strings and files that the calls name. Prints how many calls
// worked, how many procfs there were, how many of them were not as the container's own, how many mounts are left over, how many
// nodes there were, and how many of them were not of null.
static void mount_race(char **args) {
    static const char *dirs[] = {"/tmp/r", "/tmp/r/a", "/tmp/r/b", "/tmp/r/c", "/tmp/r/c/x", "/tmp/r/d", "/tmp/r/d/x",
                                 "/tmp/r/way", "/tmp/r/way/x", "/tmp/r/else", "/tmp/r/else/x"};
    for (unsigned i = 0; i < sizeof dirs / sizeof *dirs; i++) make_dir(dirs[i]);
    if (symlink("../../tmp/r/else", "/tmp/r/link") < 0 && errno != EEXIST) refused();
    static const struct {
        const char *dir, *name;
    } looks[] = {{"/tmp/r", "a"}, {"/tmp/r", "b"}, {"/tmp/r/c", "x"}, {"/tmp/r/d", "x"}, {"/tmp/r/way", "x"}, {"/tmp/r/else", "x"}};
    enum { LOOKS = sizeof looks / sizeof *looks };
    int fds[LOOKS];
    for (int i = 0; i < LOOKS; i++) fds[i] = need(open(looks[i].dir, O_PATH | O_CLOEXEC));
    places[0] = need(open("/tmp/r/a", O_PATH | O_CLOEXEC));
    places[1] = need(open("/tmp/r/b", O_PATH | O_CLOEXEC));
    moving = need(dup(places[0]));
    snprintf(descriptor_path, sizeof descriptor_path, "/proc/self/fd/%d", moving);
    snprintf(descriptor_node, sizeof descriptor_node, "%s/node", descriptor_path);
    int mounts = mount_count();
    pthread_t threads[] = {start(flip_strings, NULL), start(flip_files, NULL)};
    long worked = 0;
    double end = now() + atof(args[0]);
    for (unsigned turn = 0; now() < end; turn++) {
        worked += act_somehow(turn) >= 0;
        worked += act_somehow(turn / WAYS) >= 0;
        for (int i = 0; i < 2; i++) see_node(places[i]);
        for (int i = 0; i < LOOKS; i++) {
            see_procfs(fds[i], looks[i].name);
            if (i > 1) see_node(fds[i]);
            if (turn % 4 == 3) clear(fds[i], looks[i].name);
        }
    }
    stop = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 2; i++) see_node(places[i]);
    for (int i = 0; i < LOOKS; i++) {
        if (i > 1) see_node(fds[i]);
        clear(fds[i], looks[i].name);
    }
    printf("%ld %ld %ld %d %ld %ld\n", worked, procs, bare, mount_count() - mounts, nodes, wrong);
    exit(0);
}

// What becomes of the trapped calls of this thread, by their errors: a procfs at `at`, its remount, a clone of it, a bind mount of it,
// their umount, a node of null, bpf(2). `memory` is what sysinfo(2) should tell.
static const char *served(const char *at, unsigned long memory) {
    static char said[128];
    const char *beside = "/tmp/r/b", *node = "/tmp/r/node";
    struct sysinfo info;
    if (sysinfo(&info) < 0 || info.totalram * info.mem_unit != memory) return "another machine";
    const char *mounted = error_name(mount("proc", at, "proc", 0, NULL));
    struct statfs fs;
    if (!strcmp(mounted, "done") && (statfs(at, &fs) < 0 || fs.f_type != PROC_MAGIC)) return "mounted elsewhere";
    const char *remounted = error_name(mount(NULL, at, NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
    int tree = open_tree(at, OPEN_TREE_CLONE);
    const char *cloned = error_name(tree);
    if (tree >= 0) close(tree);
    const char *bound = error_name(mount(at, beside, NULL, MS_BIND, NULL));
    if (!strcmp(bound, "done") && (statfs(beside, &fs) < 0 || umount2(beside, 0) < 0)) return "bound elsewhere";
    // It has covers, so that the kernel itself says EBUSY.
    const char *unmounted = error_name(umount2(at, 0));
    const char *made = error_name(make_node(node));
    struct stat its;
    if (!strcmp(made, "done") && (stat(node, &its) < 0 || its.st_rdev != makedev(1, 3))) return "another node";
    umount2(node, MNT_DETACH), unlink(node);
    // BPF_OBJ_GET of nothing, which is EFAULT to the kernel.
    const char *program = error_name(syscall(SYS_bpf, 7, NULL, 0));
    snprintf(said, sizeof said, "%s %s %s %s %s %s %s", mounted, remounted, cloned, bound, unmounted, made, program);
    return said;
}

static unsigned long memory_here(void) {
    struct sysinfo info;
    need(sysinfo(&info));
    return info.totalram * info.mem_unit;
}

struct serving {
    const char *at, *said;
    unsigned long memory;
};

static void *serve_thread(void *with) {
    struct serving *it = with;
    it->said = served(it->at, it->memory);
    return NULL;
}

static void drop_capabilities(void) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}};
    need(syscall(SYS_capset, &head, none));
}

static void become_nested(int flags) {
    need(unshare(CLONE_NEWUSER | CLONE_NEWNS | flags));
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "0 0 1");
    put("/proc/self/gid_map", "0 0 1");
}

// Forks once more, for what only children get; ends as the child does.
static void in_child(void) {
    int status;
    pid_t child = need(fork());
    if (child == 0) return;
    need(waitpid(child, &status, 0));
    _exit(WEXITSTATUS(status));
}

// callers: what becomes of the trapped calls of callers of every kind, a line each.
static void callers(char **args) {
    (void)args;
    static const char *kinds[] = {"leader",     "thread", "vfork",    "chrooted", "undumpable", "mount-namespace", "pid-namespace",
                                  "other-user", "no-capabilities", "nested", "nested-without-pid", "no-descriptors", "lost-directory",
                                  "no-new-privileges"};
    make_dir("/tmp/r"), make_dir("/tmp/r/a"), make_dir("/tmp/r/a/tmp"), make_dir("/tmp/r/a/tmp/r"), make_dir("/tmp/r/a/tmp/r/a");
    make_dir("/tmp/r/b"), make_dir("/tmp/r/a/tmp/r/b");
    unsigned long memory = memory_here();
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *kind = kinds[i], *at = "/tmp/r/a";
        fflush(stdout);
        pid_t child = need(fork());
        if (child) {
            int status;
            need(waitpid(child, &status, 0));
            if (!WIFEXITED(status) || WEXITSTATUS(status)) printf("%s ended with %x\n", kind, status);
            continue;
        }
        if (!strcmp(kind, "chrooted")) need(chroot("/tmp/r/a")), need(chdir("/"));
        if (!strcmp(kind, "undumpable")) need(prctl(PR_SET_DUMPABLE, 0));
        if (!strcmp(kind, "mount-namespace")) need(unshare(CLONE_NEWNS));
        if (!strcmp(kind, "pid-namespace")) need(unshare(CLONE_NEWPID | CLONE_NEWNS)), in_child();
        if (!strcmp(kind, "other-user")) need(setresuid(1000, 1000, 1000));
        if (!strcmp(kind, "no-capabilities")) drop_capabilities();
        if (!strcmp(kind, "nested")) become_nested(CLONE_NEWPID), in_child();
        if (!strcmp(kind, "nested-without-pid")) become_nested(0);
        if (!strcmp(kind, "no-descriptors")) need(prlimit(0, RLIMIT_NOFILE, &(struct rlimit){3, 3}, NULL));
        if (!strcmp(kind, "no-new-privileges")) need(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        if (!strcmp(kind, "lost-directory")) {
            make_dir("/tmp/r/lost"), need(chdir("/tmp/r/lost")), need(rmdir("/tmp/r/lost"));
            at = ".";
        }
        struct serving it = {at, "", memory};
        if (!strcmp(kind, "thread")) pthread_join(start(serve_thread, &it), NULL);
        else if (!strcmp(kind, "vfork")) {
            pid_t grandchild = vfork();
            if (grandchild == 0) it.said = served(at, memory), _exit(0);
            need(waitpid(grandchild, NULL, 0));
        } else it.said = served(at, memory);
        printf("%s %s\n", kind, it.said);
        fflush(stdout);
        _exit(0);
    }
    exit(0);
}

static long done, failed;
static volatile int last_error;

static void *call_all_the_time(void *with) {
    char at[64];
    snprintf(at, sizeof at, "/tmp/r/%ld", (long)with);
    make_dir(at);
    while (!stop) {
        struct sysinfo info;
        long results[] = {sysinfo(&info), mount("proc", at, "proc", 0, NULL), umount2(at, 0)};
        for (int i = 0; i < 3; i++) {
            __sync_fetch_and_add(results[i] < 0 ? &failed : &done, 1);
            if (results[i] < 0) last_error = errno;
        }
    }
    return NULL;
}

static void nothing(int signal) { (void)signal; }

// flood THREADS SECONDS MICROSECONDS: trapped calls in so many threads, that are interrupted by a signal so often (0: never), as
// Go's runtime does. Prints how many calls worked, how many did not, and why.
static void flood(char **args) {
    make_dir("/tmp/r");
    long count = atol(args[0]), micros = atol(args[2]);
    struct sigaction action = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    need(sigaction(SIGALRM, &action, NULL));
    pthread_t threads[128];
    for (long i = 0; i < count && i < 128; i++) threads[i] = start(call_all_the_time, (void *)i);
    struct itimerval timer = {{0, micros}, {0, micros}};
    need(setitimer(ITIMER_REAL, &timer, NULL));
    for (double end = now() + atof(args[1]); now() < end;) usleep(10000);
    stop = 1;
    for (long i = 0; i < count && i < 128; i++) pthread_join(threads[i], NULL);
    printf("%ld %ld %s\n", done, failed, last_error ? strerrorname_np(last_error) : "none");
    exit(0);
}

// struck COUNT: children that call all the time are killed, stopped and killed, or traced and killed. Prints how many have
// ended by that.
static void struck(char **args) {
    make_dir("/tmp/r"), make_dir("/tmp/r/a");
    long ended = 0, count = atol(args[0]);
    srandom(1);
    for (long i = 0; i < count; i++) {
        pid_t child = need(fork());
        if (child == 0) {
            need(unshare(CLONE_NEWNS));
            for (unsigned long memory = memory_here();;) served("/tmp/r/a", memory);
        }
        usleep(random() % 6000);
        int status;
        if (i % 3 == 1) need(kill(child, SIGSTOP)), usleep(random() % 2000);
        if (i % 3 == 2) {
            need(ptrace(PTRACE_ATTACH, child, NULL, NULL));
            need(waitpid(child, &status, 0));
            // The next call is stopped at, too.
            need(ptrace(PTRACE_SYSCALL, child, NULL, NULL));
            need(waitpid(child, &status, 0));
        }
        need(kill(child, SIGKILL));
        while (need(waitpid(child, &status, 0)) == child && WIFSTOPPED(status)) continue;
        ended += WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    }
    printf("%ld\n", ended);
    exit(0);
}

// linger MILLISECONDS: the effective user id, and some time more.
static void linger(char **args) {
    printf("%d\n", geteuid());
    fflush(stdout);
    usleep(atoi(args[0]) * 1000);
    _exit(0);
}

static void *execute(void *milliseconds) {
    usleep(200000);
    execl("/tmp/suid", "suid", "linger", (char *)milliseconds, NULL);
    return NULL;
}

// takeover MILLISECONDS: a process without a right calls mount(2), whereupon another of its threads executes /tmp/suid, a
// set-user-ID program of root that goes on for so long: a process keeps its id, so that one who looks at it late sees that
// program's rights. Prints that program's user, and whether it mounted.
static void takeover(char **args) {
    make_dir("/tmp/r"), make_dir("/tmp/r/a");
    fflush(stdout);
    pid_t child = need(fork());
    if (child == 0) {
        need(setresgid(1000, 1000, 1000));
        need(setresuid(1000, 1000, 1000));
        start(execute, args[0]);
        for (;;) mount("proc", "/tmp/r/a", "proc", 0, NULL);
    }
    need(waitpid(child, NULL, 0));
    puts(procfs_at(AT_FDCWD, "/tmp/r/a") ? "mounted" : "nothing");
    exit(0);
}

// silent-fuse PATH: mounts a filesystem that answers to FUSE_INIT and to nothing else (linux/fuse.h, protocol 7.31).
static void silent_fuse(char **args) {
    char options[96], request[8192];
    unsigned answer[20] = {80};
    int fd = need(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    need(mount("silent", args[0], "fuse", 0, options));
    if (need(read(fd, request, sizeof request)) < 40) refused();
    memcpy(answer + 2, request + 8, 8);
    answer[4] = 7, answer[5] = 31, answer[9] = 4096;
    need(write(fd, answer, sizeof answer));
    puts("mounted");
    fflush(stdout);
    for (;;) pause();
}

// subset PATH: takes `subset=pid` of a procfs back (proc_parse_subset_param() of fs/proc/root.c reads "," as no subset).
static void subset(char **args) {
    int fd = need(syscall(SYS_fspick, AT_FDCWD, args[0], FSPICK_CLOEXEC));
    need(syscall(SYS_fsconfig, fd, FSCONFIG_SET_STRING, "subset", ",", 0));
    need(syscall(SYS_fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
}

// bad-strings: mount(2) of strings that are too long, not ended, not mapped, at the border of what is; one line each.
static void bad_strings(char **args) {
    (void)args;
    make_dir("/tmp/r");
    long page = sysconf(_SC_PAGESIZE);
    char *memory = mmap(NULL, 3 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *end = memory + 2 * page;
    need(munmap(end, page));
    memset(memory, 'x', 2 * page);
    char *unended = end - 16, *longest = memory + page - 1, *last = end - 5, *wild = end;
    struct {
        const char *name, *source, *target, *type, *data;
    } rows[] = {{"unended-type", "s", "/tmp/r", unended, NULL}, {"unmapped-type", "s", "/tmp/r", wild, NULL},
                {"long-type", "s", "/tmp/r", memory, NULL},     {"null-type", "s", "/tmp/r", NULL, NULL},
                {"kernel-type", "s", "/tmp/r", (char *)-4096, NULL},
                {"unended-target", "s", unended, "proc", NULL}, {"unmapped-target", "s", wild, "proc", NULL},
                {"long-target", "s", memory, "proc", NULL},     {"null-target", "s", NULL, "proc", NULL},
                {"long-source", memory, "/tmp/r", "proc", NULL}, {"unmapped-source", wild, "/tmp/r", "proc", NULL},
                {"unmapped-data", "s", "/tmp/r", "proc", wild}, {"long-data", "s", "/tmp/r", "proc", memory},
                {"type-at-the-end", "s", "/tmp/nowhere", last, NULL}, {"longest-target", "s", longest, "proc", NULL}};
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        memset(memory, 'x', 2 * page);
        if (rows[i].type == last) strcpy(last, "proc");
        if (rows[i].target == longest) memset(longest, '/', page + 1 - 5), strcpy(longest + page - 5, "none");
        printf("%s %s\n", rows[i].name, error_name(mount(rows[i].source, rows[i].target, rows[i].type, 0, rows[i].data)));
    }
    printf("sysinfo-null %s\n", error_name(syscall(SYS_sysinfo, NULL)));
    printf("sysinfo-border %s\n", error_name(syscall(SYS_sysinfo, end - 8)));
    printf("umount-unmapped %s\n", error_name(syscall(SYS_umount2, wild, 0)));
    // The kernel has written to the border.
    memset(memory, 'x', 2 * page);
    printf("mknod-unended %s\n", error_name(mknod(unended, S_IFCHR | 0600, makedev(1, 3))));
    printf("open_tree-unmapped %s\n", error_name(syscall(SYS_open_tree, AT_FDCWD, wild, OPEN_TREE_CLONE)));
    printf("fsopen-unended %s\n", error_name(syscall(SYS_fsopen, unended, 0)));
    exit(0);
}

static long int80(long number, long a, long b, long c, long d, long e) {
#ifdef __x86_64__
    long result;
    register long arg5 asm("rdi") = e;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(arg5)
                 : "memory", "r8", "r9", "r10", "r11");
    errno = -(int)result;
    return (int)result < 0 && (int)result > -4096 ? -1 : (int)result;
#else
    errno = ENOSYS;
    return -1;
#endif
}

// listened PROGRAM ARGUMENT...: runs a program under a filter that has a listener, as all in an eci container is. Whoever holds
// it stays until everybody under the filter has ended.
static void listened(char **args) {
    struct sock_filter code[] = {{BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog program = {1, code};
    int status, listener = 100;
    // The listener is made by whom it is to filter, in a table of descriptors that both have.
    pid_t child = need(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
    if (child == 0) {
        int made = need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
        need(dup3(made, listener, O_CLOEXEC));
        need(unshare(CLONE_FILES));
        execv(args[0], args);
        refused();
    }
    need(waitpid(child, &status, 0));
    if (need(fork()) == 0) {
        for (int fd = 0; fd < 100; fd++) close(fd);
        while (poll(&(struct pollfd){listener, 0, 0}, 1, -1) < 1) continue;
        _exit(0);
    }
    exit(WEXITSTATUS(status));
}

// umount32 PATH: the umount(2) of 32-bit x86, which has no flags.
static void umount32(char **args) {
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    need(int80(22, (long)strncpy(low, args[0], 4095), 0, 0, 0, 0));
}

// abis: each trapped call by the ABI of x86-64, of 32-bit x86 and of x32, what they say in a line.
static void abis(char **args) {
    (void)args;
    make_dir("/tmp/r"), make_dir("/tmp/r/a");
    int root = need(open("/tmp", O_PATH | O_CLOEXEC));
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    char *proc = strcpy(low, "proc"), *at = strcpy(low + 16, "/tmp/r/a"), *null = strcpy(low + 32, "/tmp/null");
    char *own = strcpy(low + 64, "/proc"), *info = low + 1024;
    static const struct {
        const char *name;
        long native, narrow;
    } rows[] = {{"mount", SYS_mount, 21}, {"umount", SYS_umount2, 22}, {"mount", SYS_mount, 21}, {"umount2", SYS_umount2, 52},
                {"bind", SYS_mount, 21},  {"umount2", SYS_umount2, 52}, {"remount", SYS_mount, 21}, {"fsopen", SYS_fsopen, 430},
                {"open_tree", SYS_open_tree, 428}, {"open_tree_attr", 467, 467}, {"mknod", SYS_mknod, 14},
                {"mknodat", SYS_mknodat, 297}, {"sysinfo", SYS_sysinfo, 116}};
    for (int abi = 0; abi < 3; abi++) {
        printf("%s:", abi == 0 ? "x86-64" : abi == 1 ? "i386" : "x32");
        for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
            const char *name = rows[i].name;
            long a[5] = {0};
#define SET(...) memcpy(a, (long[5]){__VA_ARGS__}, sizeof a)
            if (!strcmp(name, "mount")) SET((long)proc, (long)at, (long)proc, 0, 0);
            if (!strcmp(name, "umount") || !strcmp(name, "umount2")) SET((long)at, 0, 0, 0, 0);
            if (!strcmp(name, "bind")) SET((long)own, (long)at, 0, MS_BIND, 0);
            if (!strcmp(name, "remount")) SET(0, (long)own, 0, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, 0);
            if (!strcmp(name, "fsopen")) SET((long)proc, 0, 0, 0, 0);
            if (!strncmp(name, "open_tree", 9)) SET(AT_FDCWD, (long)own, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC, 0, 0);
            if (!strcmp(name, "mknod")) SET((long)null, S_IFCHR | 0666, makedev(1, 3), 0, 0);
            if (!strcmp(name, "mknodat")) SET(root, (long)(null + 5), S_IFCHR | 0666, makedev(1, 3), 0);
            if (!strcmp(name, "sysinfo")) SET((long)info, 0, 0, 0, 0);
            long result = abi == 1 ? int80(rows[i].narrow, a[0], a[1], a[2], a[3], a[4])
                                   : syscall(rows[i].native | (abi == 2 ? 0x40000000 : 0), a[0], a[1], a[2], a[3], a[4]);
            printf(" %s", error_name(result));
            if (strncmp(name, "mknod", 5) == 0) umount2(null, MNT_DETACH), unlink(null);
        }
        unsigned unit;
        memcpy(&unit, info + (abi == 1 ? 52 : 104), 4);
        unsigned long total = abi == 1 ? *(unsigned *)(info + 16) : *(unsigned long *)(info + 32);
        printf(" %lu\n", total * (unit ? unit : 1));
    }
    exit(0);
}
