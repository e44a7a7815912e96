// inside: what the tests do in a container that busybox has no command for. It is linked statically.
//
//     inside VERB [ARGUMENT...]
//
// A verb is one act, mostly one system call. It prints "ok", or what it has found, and exits with 0; when the kernel
// refuses it prints the name of the error (EPERM) and exits with 1, so that a test can tell one refusal from another.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/nsfs.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

static void run(char **args);

// Prints the last error's name and leaves.
static void refused(void) {
    puts(strerrorname_np(errno));
    exit(1);
}

// The result of a system call that must not fail.
static int need(long result) {
    if (result < 0) refused();
    return result;
}

static int set_attr(int fd, const char *path, unsigned flags, __u64 set, __u64 clear) {
    struct mount_attr attr = {.attr_set = set, .attr_clr = clear};
    return syscall(SYS_mount_setattr, fd, path, flags, &attr, sizeof attr);
}

static int open_tree(const char *path, unsigned flags) {
    return syscall(SYS_open_tree, AT_FDCWD, path, flags | OPEN_TREE_CLOEXEC);
}

static int move_mount(int fd, const char *target) {
    return syscall(SYS_move_mount, fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH);
}

// mkdir-as ID PATH: makes a directory with a filesystem user and group id, and with the capability to reach it, which
// setfsuid(2) drops.
static void mkdir_as(char **args) {
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct sets[2];
    setfsgid(atoi(args[0]));
    setfsuid(atoi(args[0]));
    need(syscall(SYS_capget, &head, sets));
    sets[0].effective |= 1 << CAP_DAC_OVERRIDE;
    need(syscall(SYS_capset, &head, sets));
    need(mkdir(args[1], 0755));
}

// setattr-rw PATH: mount_setattr(2) clears the read-only attribute of a mount.
static void setattr_rw(char **args) { need(set_attr(AT_FDCWD, args[0], 0, 0, MOUNT_ATTR_RDONLY)); }

// setattr-rw-all PATH: the same for the whole tree of mounts.
static void setattr_rw_all(char **args) { need(set_attr(AT_FDCWD, args[0], AT_RECURSIVE, 0, MOUNT_ATTR_RDONLY)); }

// setattr-ro PATH: mount_setattr(2) sets the read-only attribute.
static void setattr_ro(char **args) { need(set_attr(AT_FDCWD, args[0], 0, MOUNT_ATTR_RDONLY, 0)); }

// setattr-clear PATH nosuid|nodev|noexec|atime: mount_setattr(2) takes another attribute away.
static void setattr_clear(char **args) {
    __u64 clear = !strcmp(args[1], "nosuid")   ? MOUNT_ATTR_NOSUID
                  : !strcmp(args[1], "nodev")  ? MOUNT_ATTR_NODEV
                  : !strcmp(args[1], "noexec") ? MOUNT_ATTR_NOEXEC
                                               : MOUNT_ATTR__ATIME;
    need(set_attr(AT_FDCWD, args[0], 0, 0, clear));
}

// clone PATH TARGET: open_tree(2) with a clone, move_mount(2) to another place.
static void clone_to(char **args) { need(move_mount(need(open_tree(args[0], OPEN_TREE_CLONE)), args[1])); }

// clone-all PATH TARGET: the same for the whole tree of mounts.
static void clone_all_to(char **args) {
    need(move_mount(need(open_tree(args[0], OPEN_TREE_CLONE | AT_RECURSIVE)), args[1]));
}

// clone-rw PATH TARGET: a clone is made writable while it is detached, then attached elsewhere.
static void clone_rw(char **args) {
    int fd = need(open_tree(args[0], OPEN_TREE_CLONE));
    need(set_attr(fd, "", AT_EMPTY_PATH, 0, MOUNT_ATTR_RDONLY));
    need(move_mount(fd, args[1]));
}

// move PATH TARGET: move_mount(2) of a mount that is attached.
static void move_to(char **args) { need(move_mount(need(open_tree(args[0], 0)), args[1])); }

// reconfigure PATH ro|rw: fspick(2) and fsconfig(2) change the filesystem itself.
static void reconfigure(char **args) {
    int fd = need(syscall(SYS_fspick, AT_FDCWD, args[0], FSPICK_CLOEXEC));
    need(syscall(SYS_fsconfig, fd, FSCONFIG_SET_FLAG, args[1], NULL, 0));
    need(syscall(SYS_fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
}

// open PATH r|w|rw: open(2).
static void open_file(char **args) {
    need(open(args[0], !strcmp(args[1], "rw") ? O_RDWR : *args[1] == 'w' ? O_WRONLY : O_RDONLY));
}

// open-no-xdev PATH r|w: openat2(2) of a path below /proc that may cross no mount, as runtimes write sysctls.
static void open_no_xdev(char **args) {
    struct open_how how = {.flags = (*args[1] == 'w' ? O_WRONLY : O_RDONLY) | O_CLOEXEC,
                           .resolve = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS};
    need(syscall(SYS_openat2, need(open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC)), args[0], &how, sizeof how));
}

// owner KIND: whether the process's own user namespace owns its namespace of a kind (ioctl_ns(2)): own or other.
static void owner(char **args) {
    char path[64];
    struct stat user, owning;
    snprintf(path, sizeof path, "/proc/self/ns/%s", args[0]);
    need(stat("/proc/self/ns/user", &user));
    need(fstat(need(ioctl(need(open(path, O_RDONLY)), NS_GET_USERNS)), &owning));
    puts(user.st_ino == owning.st_ino && user.st_dev == owning.st_dev ? "own" : "other");
    exit(0);
}

// pty: a pseudo-terminal from /dev/ptmx: the name of its other side, which must open.
static void pty(char **args) {
    (void)args;
    int fd = need(posix_openpt(O_RDWR | O_NOCTTY));
    need(grantpt(fd));
    need(unlockpt(fd));
    need(open(ptsname(fd), O_RDWR | O_NOCTTY));
    puts(ptsname(fd));
    exit(0);
}

// tun NAME: a network interface made through /dev/net/tun.
static void tun(char **args) {
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    strncpy(request.ifr_name, args[0], IFNAMSIZ - 1);
    need(ioctl(need(open("/dev/net/tun", O_RDWR)), TUNSETIFF, &request));
}

// icmp: a socket for echo requests that needs no privilege where ping_group_range has the group (icmp(7)).
static void icmp(char **args) {
    (void)args;
    need(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP));
}

// euid: the effective user and group id.
static void euid(char **args) {
    (void)args;
    printf("%d:%d\n", geteuid(), getegid());
    exit(0);
}

// setcap PATH: gives a program CAP_NET_BIND_SERVICE, effective (capabilities(7), "File capabilities", version 2).
static void setcap(char **args) {
    unsigned data[5] = {0x02000001, 1 << 10};
    need(setxattr(args[0], "security.capability", data, sizeof data, 0));
}

// syscall NUMBER [ARGUMENT...]: a system call with up to five numbers.
static void call(char **args) {
    long values[6] = {0};
    for (int i = 0; i < 6 && args[i]; i++) values[i] = strtoul(args[i], NULL, 0);
    need(syscall(values[0], values[1], values[2], values[3], values[4], values[5]));
}

// syscall32 NUMBER [ARGUMENT...]: a system call of 32-bit x86, with up to three numbers.
static void call32(char **args) {
    unsigned long values[4] = {0};
    for (int i = 0; i < 4 && args[i]; i++) values[i] = strtoul(args[i], NULL, 0);
#ifdef __x86_64__
    long result;
    asm volatile("int $0x80"
                 : "=a"(result)
                 : "a"(values[0]), "b"(values[1]), "c"(values[2]), "d"(values[3])
                 : "memory", "r8", "r9", "r10", "r11");
    errno = -(int)result;
    need((int)result < 0 && (int)result > -4096 ? -1 : 0);
#else
    errno = ENOSYS;
    refused();
#endif
}

// sysinfo: seconds since the boot, bytes of memory and of free memory, of swap, processes (sysinfo(2)).
static void machine(char **args) {
    (void)args;
    struct sysinfo info;
    need(sysinfo(&info));
    printf("%ld %lu %lu %lu %u\n", info.uptime, info.totalram * info.mem_unit, info.freeram * info.mem_unit,
           info.totalswap * info.mem_unit, info.procs);
    exit(0);
}

// filtered VERB...: a verb under a seccomp filter of its own, that allows all but getppid(2), as an inner engine's.
static void filtered(char **args) {
    struct sock_filter code[] = {{BPF_LD | BPF_W | BPF_ABS, 0, 0, 0},
                                 {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, SYS_getppid},
                                 {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | EDOM},
                                 {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW}};
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    need(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
    if (syscall(SYS_getppid) >= 0 || errno != EDOM) refused();
    run(args);
}

// keyring: the description of the session keyring (keyctl_describe(3)): type;uid;gid;permissions;name.
static void keyring(char **args) {
    (void)args;
    char text[256] = "";
    need(syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, text, sizeof text - 1));
    puts(text);
    exit(0);
}

static void put(const char *path, const char *text) {
    int fd = need(open(path, O_WRONLY));
    need(write(fd, text, strlen(text)));
    close(fd);
}

#include "attacks.h"
#include "traps.h"
#include "hoards.h"
#include "emulated.h"
#include "pulse.h"
#include "programs.h"

// swap ONE OTHER COUNT: exchanges two files for ever, and writes how often into a third, some thousand times a second.
static void swap(char **args) {
    int count = need(open(args[2], O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    for (unsigned long swaps = 1;; swaps++) {
        need(syscall(SYS_renameat2, AT_FDCWD, args[0], AT_FDCWD, args[1], RENAME_EXCHANGE));
        if (swaps % 64) continue;
        char text[24];
        need(pwrite(count, text, sprintf(text, "%lu", swaps), 0));
    }
}

// nested VERB...: a verb as root of a user and a mount namespace below the container's.
static void nested(char **args) {
    need(unshare(CLONE_NEWUSER | CLONE_NEWNS));
    put("/proc/self/setgroups", "deny");
    put("/proc/self/uid_map", "0 0 1");
    put("/proc/self/gid_map", "0 0 1");
    run(args);
}

static const struct {
    const char *name;
    int arguments;
    void (*act)(char **args);
} verbs[] = {
    {"mkdir-as", 2, mkdir_as},
    {"setattr-rw", 1, setattr_rw},
    {"setattr-rw-all", 1, setattr_rw_all},
    {"setattr-ro", 1, setattr_ro},
    {"setattr-clear", 2, setattr_clear},
    {"clone", 2, clone_to},
    {"clone-all", 2, clone_all_to},
    {"clone-rw", 2, clone_rw},
    {"move", 2, move_to},
    {"reconfigure", 2, reconfigure},
    {"open", 2, open_file},
    {"open-no-xdev", 2, open_no_xdev},
    {"owner", 1, owner},
    {"pty", 0, pty},
    {"tun", 1, tun},
    {"icmp", 0, icmp},
    {"euid", 0, euid},
    {"setcap", 1, setcap},
    {"swap", 3, swap},
    {"nested", 1, nested},
    {"syscall", 1, call},
    {"syscall32", 1, call32},
    {"sysinfo", 0, machine},
    {"filtered", 1, filtered},
    {"keyring", 0, keyring},
    {"fds", 0, fds},
    {"escape", 1, escape},
    {"spy", 1, spy},
    {"overwrite", 1, overwrite},
    {"writable", 1, writable},
    {"bpf-maps", 0, bpf_maps},
    {"user-namespaces", 1, user_namespaces},
    {"kernel", 0, kernel},
    {"setting", 1, setting},
    {"answers", 1, answers},
    {"mount-race", 1, mount_race},
    {"callers", 0, callers},
    {"long-mounts", 2, long_mounts},
    {"reveal", 1, reveal},
    {"swap-nodes", 1, swap_nodes},
    {"silent-root", 0, silent_root},
    {"false-ptmx", 1, false_ptmx},
    {"hold-pipe", 2, hold_pipe},
    {"flood", 3, flood},
    {"struck", 1, struck},
    {"pulse", 2, pulse},
    {"storm", 3, storm},
    {"linger", 1, linger},
    {"takeover", 1, takeover},
    {"silent-fuse", 1, silent_fuse},
    {"subset", 1, subset},
    {"bad-strings", 0, bad_strings},
    {"listened", 1, listened},
    {"umount32", 1, umount32},
    {"abis", 0, abis},
    {"device-program", 1, device_program},
    {"attach", 1, attach},
    {"bpf-refused", 2, bpf_refused},
    {"many-programs", 0, many_programs},
};

static void run(char **args) {
    int given = 0;
    while (args[0] && args[given + 1]) given++;
    for (unsigned i = 0; args[0] && i < sizeof verbs / sizeof *verbs; i++) {
        if (strcmp(args[0], verbs[i].name) || given < verbs[i].arguments) continue;
        verbs[i].act(args + 1);
        puts("ok");
        exit(0);
    }
    fputs("inside: no such verb, or too few arguments\n", stderr);
    exit(2);
}

int main(int count, char **args) {
    (void)count;
    run(args + 1);
}
