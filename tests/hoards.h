// What a container piles up, or puts in another's place, for those who act on its behalf (docs/syscalls.md). Verbs of inside.c.
#include <linux/fuse.h>
#include <sys/inotify.h>

// long-mounts LEVELS COUNT: in a mount namespace of its own, so many mounts in a directory as deep. Each level has a name of 250
// blanks, of which mountinfo makes four bytes each. Prints what becomes of remounts of a tmpfs, several at once.
static void long_mounts(char **args) {
    char name[251];
    memset(name, ' ', 250), name[250] = 0;
    need(unshare(CLONE_NEWNS));
    make_dir("/tmp/r"), make_dir("/tmp/r/a"), make_dir("/tmp/r/b"), make_dir("/tmp/r/c");
    need(mount("none", "/tmp/r/a", "tmpfs", 0, NULL));
    need(mount("none", "/tmp/r/b", "tmpfs", 0, NULL));
    need(chdir("/tmp/r/a"));
    for (int i = atoi(args[0]); i > 0; i--) {
        make_dir(name);
        need(chdir(name));
    }
    make_dir("m");
    // Recursive ones are the kernel's.
    for (int i = atoi(args[1]); i > 0; i--) need(mount("/tmp/r/c", "m", NULL, MS_BIND | MS_REC, NULL));
    need(chdir("/"));
    for (int i = 0; i < 4; i++) {
        if (fork() == 0) {
            dprintf(1, "%s\n", error_name(mount(NULL, "/tmp/r/b", NULL, MS_REMOUNT | MS_NOSUID, "size=64k,uid=0")));
            _exit(0);
        }
    }
    while (wait(NULL) > 0) continue;
    exit(0);
}

// A procfs that shows /proc/version, which its namespace has masked for good, and all else that is masked.
static long shown, tried;

static void *come_and_go(void *unused) {
    while (!stop) {
        mount("/proc", "/tmp/r/a", NULL, MS_BIND | MS_REC, NULL);
        umount2("/tmp/r/a", MNT_DETACH);
    }
    return unused;
}

// reveal SECONDS: masks /proc/version, as a runtime does in a container of its own, and tries to mount a procfs from a user
// namespace within, while others come and go that are masked, too. Prints how many were tried, and how many were had.
static void reveal(char **args) {
    struct stat own, its;
    need(unshare(CLONE_NEWNS));
    make_dir("/tmp/r"), make_dir("/tmp/r/a"), make_dir("/tmp/r/b");
    need(mount("/dev/null", "/proc/version", NULL, MS_BIND | MS_REC, NULL));
    become_nested(CLONE_NEWPID);
    in_child();
    need(stat("/proc/version", &own));
    pthread_t threads[] = {start(come_and_go, NULL), start(come_and_go, NULL)};
    for (double end = now() + atof(args[0]); now() < end; tried++) {
        if (mount("proc", "/tmp/r/b", "proc", 0, NULL) < 0) continue;
        shown += stat("/tmp/r/b/version", &its) == 0 && its.st_rdev != own.st_rdev;
        umount2("/tmp/r/b", MNT_DETACH);
    }
    stop = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    printf("%ld %ld\n", tried, shown);
    fflush(stdout);
    _exit(0);
}

static void *put_in_place(void *unused) {
    while (!stop) {
        link("/tmp/r/other", "/tmp/r/spare");
        // Only where there is a node.
        syscall(SYS_renameat2, AT_FDCWD, "/tmp/r/spare", AT_FDCWD, "/tmp/r/node", RENAME_EXCHANGE);
        unlink("/tmp/r/spare");
    }
    return unused;
}

// swap-nodes SECONDS: makes nodes of null, while another thread has another file take their place. Prints how many were made, and how often
// somebody has opened that file, which nobody here does.
static void swap_nodes(char **args) {
    char events[4096];
    long opened = 0, made = 0;
    make_dir("/tmp/r");
    close(need(open("/tmp/r/other", O_CREAT | O_RDONLY | O_CLOEXEC, 0666)));
    int watch = need(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    need(inotify_add_watch(watch, "/tmp/r/other", IN_OPEN));
    pthread_t thread = start(put_in_place, NULL);
    for (double end = now() + atof(args[0]); now() < end;) {
        made += make_node("/tmp/r/node") == 0;
        unlink("/tmp/r/node");
        // Without a name beside it an event is of one size.
        ssize_t length = read(watch, events, sizeof events);
        opened += length > 0 ? length / (ssize_t)sizeof(struct inotify_event) : 0;
    }
    stop = 1;
    pthread_join(thread, NULL);
    printf("%ld %ld\n", made, opened);
    exit(0);
}

// What a filesystem answers (linux/fuse.h, protocol 7.31).
struct answer {
    struct fuse_out_header head;
    union {
        struct fuse_init_out init;
        struct fuse_attr_out attr;
        struct fuse_statfs_out statfs;
        struct fuse_open_out open;
        struct fuse_ioctl_out ioctl;
    };
};

enum turn { SILENT, ANSWERED, USUAL };

// Of one file or directory, by its mode.
static void usual(struct fuse_in_header *in, struct answer *out, unsigned mode) {
    if (in->opcode == FUSE_INIT) {
        out->init.major = 7, out->init.minor = 31, out->init.max_write = 4096;
        out->head.len += sizeof out->init;
    } else if (in->opcode == FUSE_GETATTR || in->opcode == FUSE_SETATTR) {
        out->attr.attr.ino = 1, out->attr.attr.mode = mode, out->attr.attr.nlink = S_ISDIR(mode) ? 2 : 1;
        out->head.len += sizeof out->attr;
    } else if (in->opcode == FUSE_STATFS) {
        out->statfs.st.namelen = 255;
        out->head.len += sizeof out->statfs;
    } else {
        out->head.error = -ENOSYS;
    }
}

// Answers for a filesystem, as usual but for what is `special`.
static void serve(int fd, unsigned mode, enum turn (*special)(struct fuse_in_header *, struct answer *)) {
    char request[8192];
    while (read(fd, request, sizeof request) >= (ssize_t)sizeof(struct fuse_in_header)) {
        struct fuse_in_header *in = (void *)request;
        struct answer out = {.head = {.unique = in->unique, .len = sizeof out.head}};
        enum turn turn = special(in, &out);
        if (turn == SILENT || in->opcode == FUSE_FORGET || in->opcode == FUSE_INTERRUPT) continue;
        if (turn == USUAL) usual(in, &out, mode);
        // Who has been killed needs no answer.
        if (write(fd, &out, out.head.len) < 0 && errno != ENOENT) refused();
    }
    _exit(0);
}

// Of a directory that has nothing.
static enum turn empty(struct fuse_in_header *in, struct answer *out) {
    if (in->opcode != FUSE_LOOKUP) return USUAL;
    out->head.error = -ENOENT;
    return ANSWERED;
}

// silent-root: umount2(2) from a root directory that is an overlay's over a filesystem whose server has stopped.
static void silent_root(char **args) {
    (void)args;
    char options[96];
    make_dir("/tmp/f"), make_dir("/tmp/r"), make_dir("/tmp/r/c"), make_dir("/tmp/r/o");
    int fd = need(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", fd);
    need(mount("silent", "/tmp/f", "fuse", 0, options));
    pid_t server = need(fork());
    if (server == 0) serve(fd, S_IFDIR | 0755, empty);
    need(mount("none", "/tmp/r/o", "overlay", 0, "lowerdir=/tmp/f:/tmp/r/c"));
    need(chroot("/tmp/r/o")), need(chdir("/"));
    need(kill(server, SIGSTOP));
    puts("ready");
    fflush(stdout);
    need(umount2("/x", 0));
}

// Of a file that poses as a multiplexor: every ioctl(2) does what it is told, and a slave side is the descriptor that comes next (FUSE
// hands the server's number on). Who is outside of the container, and so has no pid here, is never answered.
static enum turn pose(struct fuse_in_header *in, struct answer *out) {
    static int slave = 3;
    if (in->pid == 0 && in->opcode != FUSE_INIT) return SILENT;
    if (in->opcode == FUSE_OPEN) {
        out->head.len += sizeof out->open;
    } else if (in->opcode == FUSE_IOCTL) {
        struct fuse_ioctl_in *call = (void *)(in + 1);
        if (call->cmd == TIOCGPTPEER) out->ioctl.result = slave++;
        out->head.len += sizeof out->ioctl;
    } else if (in->opcode != FUSE_FLUSH) {
        return USUAL;
    }
    return ANSWERED;
}

// false-ptmx PATH: a file of such a server at PATH.
static void false_ptmx(char **args) {
    char options[96];
    int fd = need(open("/dev/fuse", O_RDWR | O_CLOEXEC));
    snprintf(options, sizeof options, "fd=%d,rootmode=100666,user_id=0,group_id=0,allow_other", fd);
    need(mount("false", args[0], "fuse", 0, options));
    puts("ready");
    fflush(stdout);
    serve(fd, S_IFREG | 0666, pose);
}

// hold-pipe FD in|out: holds the lock of the pipe at FD for good: splice(2) waits under it for a socket that has nothing to read, or
// takes nothing more.
static void hold_pipe(char **args) {
    int pipe = atoi(args[0]), in = !strcmp(args[1], "in"), sockets[2];
    need(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
    static char data[65536];
    if (in) {
        while (send(sockets[0], data, sizeof data, MSG_DONTWAIT) > 0) continue;
        for (;;) need(splice(pipe, NULL, sockets[0], NULL, sizeof data, 0));
    }
    // Whoever waits for output wakes up, and comes too late.
    need(write(pipe, "held\n", 5));
    need(splice(sockets[0], NULL, pipe, NULL, sizeof data, 0));
}
