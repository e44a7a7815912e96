// floor: what the kernel alone needs for a container like ours, as the measure of what our shim adds.
//
//     floor DIRECTORY RUNS
//
// DIRECTORY has `lower` (with this program as /floor), and is on a filesystem that can be id-mapped. Each run makes every
// namespace by one clone3(2), an id-mapped overlay, a pivot and the locked copy of the tree, and executes this program
// there; nothing else. It prints the nanoseconds of each run, from before the first clone to the main() inside.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <linux/securebits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HOST "100000"

static long need(const char *step, long result) {
    if (result < 0) {
        perror(step);
        exit(1);
    }
    return result;
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static pid_t clone3(unsigned long long flags) {
    struct clone_args args = {.flags = flags, .exit_signal = SIGCHLD};
    return need("clone3", syscall(SYS_clone3, &args, sizeof args));
}

static void write_map(pid_t pid, const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = need(path, open(path, O_WRONLY));
    need(path, write(fd, "0 " HOST " 65536", strlen("0 " HOST " 65536")));
    close(fd);
}

// A clone of a directory's mount, id-mapped, on `target`.
static void id_mapped(const char *source, const char *target, int user) {
    int tree = need(source, syscall(SYS_open_tree, AT_FDCWD, source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_IDMAP, .userns_fd = user};
    need("mount_setattr", syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof attr));
    need(target, syscall(SYS_move_mount, tree, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH));
    close(tree);
}

static void set(int context, const char *key, const char *value) {
    need(key, syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0));
}

// Waits for the other side, or tells it.
static void hear(int fd) {
    char byte;
    if (read(fd, &byte, 1) != 1) exit(1);
}

static void tell(int fd) { need("tell", write(fd, "", 1)); }

static void init(int hears, int tells, int main_reached) {
    hear(hears);
    need("setuid", setresuid(0, 0, 0));
    need("setgid", setresgid(0, 0, 0));
    tell(tells);
    hear(hears);
    need("lock", unshare(CLONE_NEWNS));
    char fd[16];
    snprintf(fd, sizeof fd, "%d", main_reached);
    execl("/floor", "floor", fd, NULL);
    need("exec", -1);
}

static void stage(int main_reached) {
    need("unshare", unshare(CLONE_NEWNS));
    need("slave", mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL));
    int down[2], up[2];
    need("pipe", pipe2(down, O_CLOEXEC));
    need("pipe", pipe2(up, O_CLOEXEC));
    pid_t pid = clone3(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET | CLONE_NEWCGROUP);
    if (pid == 0) init(down[0], up[1], main_reached);
    write_map(pid, "uid_map");
    write_map(pid, "gid_map");
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/ns/user", pid);
    int user = need(path, open(path, O_RDONLY | O_CLOEXEC));

    prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP);
    setfsuid(atoi(HOST));
    setfsgid(atoi(HOST));
    id_mapped("lower", "l", user);
    id_mapped("upper", "u", user);
    int context = need("fsopen", syscall(SYS_fsopen, "overlay", FSOPEN_CLOEXEC));
    set(context, "lowerdir", "l");
    set(context, "upperdir", "u/up");
    set(context, "workdir", "u/work");
    need("overlay", syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    int overlay = need("fsmount", syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0));
    need("attach", syscall(SYS_move_mount, overlay, "", AT_FDCWD, "root", MOVE_MOUNT_F_EMPTY_PATH));
    need("chdir", fchdir(overlay));
    need("pivot_root", syscall(SYS_pivot_root, ".", "."));
    need("detach", umount2(".", MNT_DETACH));
    tell(down[1]);
    hear(up[0]);
    tell(down[1]);
    waitpid(pid, NULL, 0);
    exit(0);
}

int main(int argc, char **argv) {
    if (argc == 2) {
        long long time = now();
        need("report", write(atoi(argv[1]), &time, sizeof time));
        return 0;
    }
    if (argc != 3) {
        fputs("floor DIRECTORY RUNS\n", stderr);
        return 2;
    }
    need(argv[1], chdir(argv[1]));
    const char *directories[] = {"upper", "upper/up", "upper/work", "l", "u", "root"};
    for (unsigned i = 0; i < sizeof directories / sizeof *directories; i++) mkdir(directories[i], 0755);
    for (int run = atoi(argv[2]); run > 0; run--) {
        int reached[2];
        long long begin = now(), end;
        need("pipe", pipe(reached));
        pid_t pid = need("fork", fork());
        if (pid == 0) stage(reached[1]);
        close(reached[1]);
        if (read(reached[0], &end, sizeof end) != sizeof end) {
            fputs("floor: the program inside did not run\n", stderr);
            return 1;
        }
        close(reached[0]);
        waitpid(pid, NULL, 0);
        printf("%lld\n", end - begin);
    }
    return 0;
}
