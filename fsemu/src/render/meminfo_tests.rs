use super::*;

const HOST: &str = "\
MemTotal:       24684084 kB
MemFree:         9560496 kB
MemAvailable:   23872312 kB
Buffers:           36072 kB
Cached:         13894056 kB
Active(anon):       1572 kB
SwapTotal:       1000000 kB
SwapFree:         900000 kB
AnonPages:        185512 kB
Slab:             848076 kB
ShmemPmdMapped:        5 kB
CommitLimit:    12342040 kB
Committed_AS:     167744 kB
VmallocTotal:   34359738367 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
DirectMap1G:    25165824 kB
";

const MIB: u64 = 1 << 20;

fn limited(swap: Vec<Level>) -> Memory {
    let stat = [
        ("file", 20 * MIB),
        ("active_anon", 4096),
        ("anon", 40 * MIB),
        ("slab_reclaimable", 1024),
        ("slab_unreclaimable", 2048),
    ];
    let stat = stat.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let level =
        |limit, usage, reclaimable| Level { limit: limit * MIB, usage: usage * MIB, reclaimable: reclaimable * MIB };
    Memory { memory: vec![level(512, 100, 20), level(1024, 900, 100)], swap, stat, swapped: 0 }
}

#[test]
fn without_a_limit_the_file_is_the_hosts() {
    assert_eq!(render(HOST, &Memory::default()), HOST);
    let beyond = Memory { memory: vec![Level { limit: 1 << 50, ..Level::default() }], ..Memory::default() };
    assert_eq!(render(HOST, &beyond), HOST);
}

/// Beyond 95 GiB numbers may have 9 digits, or 8 again.
#[test]
fn the_length_stays_where_numbers_of_the_greatest_machines_change() {
    let of =
        |free: u64| format!("MemTotal:       131072000 kB\nMemFree:        {free:>8} kB\nHugePages_Total:       0\n");
    let render = |free| render(&of(free), &Memory::default());
    let expected = "MemTotal:       131072000 kB\nMemFree:         99999999 kB\nHugePages_Total:       0\n";
    assert_eq!(render(99_999_999), expected);
    assert_eq!(render(100_000_000).len(), expected.len());
    assert_eq!(render(7).len(), expected.len());
}

#[test]
fn with_a_limit_the_numbers_are_the_groups_in_the_hosts_form() {
    let expected = "\
MemTotal:         524288 kB
MemFree:          126976 kB
MemAvailable:     229376 kB
Buffers:               0 kB
Cached:            20480 kB
Active(anon):          4 kB
SwapTotal:             0 kB
SwapFree:              0 kB
AnonPages:         40960 kB
Slab:                  3 kB
ShmemPmdMapped:        0 kB
CommitLimit:      524288 kB
Committed_AS:      40960 kB
VmallocTotal:   34359738367 kB
HugePages_Total:       0
Hugepagesize:       2048 kB
DirectMap1G:    25165824 kB
";
    assert_eq!(render(HOST, &limited(vec![Level::default()])), expected);
}

#[test]
fn swap_has_limits_of_its_own() {
    let swap = |memory: Memory| {
        let text = render(HOST, &memory);
        ["SwapTotal:", "SwapFree:"].map(|name| text.lines().find(|line| line.starts_with(name)).unwrap().to_owned())
    };
    let level = |limit: u64, usage: u64| Level { limit: limit * 1024, usage: usage * 1024, reclaimable: 0 };
    let half = Memory { swap: vec![level(500_000, 1000)], ..Memory::default() };
    assert_eq!(swap(half), ["SwapTotal:        500000 kB", "SwapFree:         499000 kB"]);
    assert_eq!(swap(limited(Vec::new())), ["SwapTotal:       1000000 kB", "SwapFree:         900000 kB"]);
    let more = Memory { swap: vec![level(2_000_000, 0)], ..Memory::default() };
    assert_eq!(swap(more), ["SwapTotal:       1000000 kB", "SwapFree:         900000 kB"]);
}
