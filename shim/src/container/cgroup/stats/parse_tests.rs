//! Texts as kernels write them.

use proptest::prelude::*;

use super::*;

fn device(major: u64, minor: u64) -> Device {
    Device { major, minor }
}

#[test]
fn a_number_is_digits_or_max() {
    assert_eq!(number("9223372036854771712\n"), Some(9_223_372_036_854_771_712));
    assert_eq!(number("18446744073709551615\n"), Some(u64::MAX));
    assert_eq!((number("max\n"), number("0\n")), (Some(u64::MAX), Some(0)));
    assert_eq!((number("\n"), number("-1\n"), number("18446744073709551616\n")), (None, None, None));
    assert_eq!(numbers("267592115 0 17 \n"), [267_592_115, 0, 17]);
}

#[test]
fn keys_are_the_kernels_and_one_that_it_does_not_have_is_0() {
    // memory.oom_control and memory.stat of v1, cpu.stat of v2 from Linux 6.18.
    let oom = Flat::parse("oom_kill_disable 0\nunder_oom 1\noom_kill 2\n");
    assert_eq!((oom.get("oom_kill_disable"), oom.get("under_oom"), oom.get("oom_kill")), (0, 1, 2));
    let limits =
        Flat::parse("hierarchical_memory_limit 9223372036854771712\nhierarchical_memsw_limit max\ntotal_rss 7\n");
    assert_eq!(limits.get("hierarchical_memory_limit"), 9_223_372_036_854_771_712);
    assert_eq!((limits.get("hierarchical_memsw_limit"), limits.get("total_rss"), limits.get("rss")), (u64::MAX, 7, 0));
    assert!(Flat::parse("").is_empty() && Flat::parse("one\na b c\nkey -5\n").is_empty());
}

#[test]
fn a_key_that_was_split_is_the_sum_of_its_parts() {
    let parts = ["workingset_refault_anon", "workingset_refault_file"];
    let sum = |text| Flat::parse(text).get_or_sum("workingset_refault", parts);
    assert_eq!(sum("workingset_refault 5\n"), 5);
    assert_eq!(sum("workingset_refault_anon 2\nworkingset_refault_file 1192\n"), 1194);
    assert_eq!(sum("workingset_refault 0\nworkingset_refault_anon 2\n"), 0);
}

#[test]
fn pressure_is_of_some_and_of_all_processes() {
    let text =
        "some avg10=1.53 avg60=0.87 avg300=0.22 total=1193877\nfull avg10=0.00 avg60=0.10 avg300=0.05 total=884\n";
    let both = pressure(text).unwrap();
    assert_eq!(both.some, Some(Stall { avg10: 1.53, avg60: 0.87, avg300: 0.22, total: 1_193_877 }));
    assert_eq!(both.full, Some(Stall { avg10: 0.0, avg60: 0.1, avg300: 0.05, total: 884 }));
    // The processor's, before Linux 5.13.
    let some = pressure("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n").unwrap();
    assert_eq!((some.some, some.full), (Some(Stall::default()), None));
    assert_eq!(pressure(""), None);
}

#[test]
fn io_is_by_device_and_a_device_without_numbers_is_none() {
    let text = "\
254:0 rbytes=1269760 wbytes=8192 rios=31 wios=2 dbytes=4096 dios=1
8:16 rbytes=0 wbytes=512 rios=0 wios=1 dbytes=0 dios=0 cost.usage=7
7:0 \n7:1\n";
    let disk = Io { device: device(254, 0), read_bytes: 1_269_760, written_bytes: 8192, reads: 31, writes: 2 };
    let other = Io { device: device(8, 16), written_bytes: 512, writes: 1, ..Io::default() };
    assert_eq!(io(text), [disk, other]);
}

#[test]
fn transfers_are_by_device_and_operation_and_the_sum_is_none() {
    let entry =
        |minor, operation: &str, value| Transfer { device: device(254, minor), operation: operation.into(), value };
    let text =
        "254:0 Read 1269760\n254:0 Write 8192\n254:0 Sync 0\n254:0 Total 1277952\n254:16 Read 1\nTotal 1277953\n";
    let expected = [
        entry(0, "Read", 1_269_760),
        entry(0, "Write", 8192),
        entry(0, "Sync", 0),
        entry(0, "Total", 1_277_952),
        entry(16, "Read", 1),
    ];
    assert_eq!(transfers(text), expected);
    // blkio.time_recursive and blkio.sectors_recursive.
    assert_eq!(transfers("254:0 2496\n"), [entry(0, "", 2496)]);
    assert_eq!(transfers("Total 0\n"), []);
}

#[test]
fn devices_have_their_first_name() {
    let text =
        "major minor  #blocks  name\n\n 254        0  268435456 vda\n 254        1   1048576 vda1\n 254 0 5 again\n";
    let names = partitions(text);
    assert_eq!(names.get(&device(254, 0)).map(String::as_str), Some("/dev/vda"));
    assert_eq!(names.get(&device(254, 1)).map(String::as_str), Some("/dev/vda1"));
    assert_eq!(names.len(), 2);
}

#[test]
fn rdma_is_by_device() {
    let found = rdma("mlx4_0 hca_handle=2 hca_object=2000\nocrdma1 hca_handle=3 hca_object=max\nbroken\n");
    let entry = |device: &str, handles, objects| Rdma { device: device.into(), handles, objects };
    assert_eq!(found, [entry("mlx4_0", 2, 2000), entry("ocrdma1", 3, u32::MAX)]);
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "([a-z]{1,4}|[0-9]{1,22}|[:= \\n]|max|some |full ){0,30}") {
        let _ = (number(&text), numbers(&text), pressure(&text), io(&text), transfers(&text));
        let _ = (Flat::parse(&text), partitions(&text), rdma(&text));
    }
}
