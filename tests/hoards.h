// What a container piles up for those to read who act on its behalf (docs/syscalls.md). Verbs of inside.c.

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
