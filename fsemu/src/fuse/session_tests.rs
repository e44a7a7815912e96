use proptest::prelude::*;

use super::*;
use crate::Facts;
use crate::fuse::inodes::ROOT;
use crate::table::{Check, Kept, Live, Mirror, Node, Seed, Tie};

const fn node(path: &'static str, kind: Kind) -> Node {
    Node { path, mode: 0o644, kind, own_proc_only: false, reason: "a test" }
}

const KEPT: Kind =
    Kind::Kept(Kept { seed: Seed::Text("1\n"), check: Check::Integer(0, 9), tie: Tie::None, may_raise: false });

/// A directory of the kernel's, in which every host has `swappiness` and `laptop_mode`.
const KERNELS: Node =
    node("/proc/sys/vm", Kind::Mirror(Mirror { shows: |_, _| true, files: &[], native: true, by_groups: false }));

static NODES: [Node; 9] = [
    node("/proc/fixed", Kind::Live(Live { render: |_| Ok(b"fixed\n".into()), fresh: EVER, steady: true })),
    node("/proc/empty", Kind::Empty),
    node("/proc/live", Kind::Live(Live { render: |_| Ok(b"live\n".into()), fresh: EVER, steady: true })),
    node("/proc/direct", Kind::Live(Live { render: |_| Ok(b"direct\n".into()), fresh: EVER, steady: false })),
    node("/proc/kept", KEPT),
    KERNELS,
    node("/proc/sys/vm/swappiness", KEPT),
    node("/proc/sys/vm/none", KEPT),
    node(
        "/sys/devices/system/cpu",
        Kind::Mirror(Mirror { shows: |_, name| name != "cpu1", files: &[], native: false, by_groups: true }),
    ),
];

/// A session, with the directory of its values.
fn session(part: Part) -> (Session, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let values = Arc::new(std::fs::File::open(directory.path()).unwrap().into());
    let facts = Facts { root: 1000, id: "test".into(), init: 1, cgroups: Vec::new(), values };
    (Session::new(Arc::new(Emulation::of(facts, NODES.iter().collect())), part), directory)
}

fn request(opcode: u32, node: u64, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(40 + body.len()).unwrap();
    Body::default().u32(length).u32(opcode).u64(77).u64(node).zeros(16).bytes(body).into_bytes()
}

fn read(handle: u64, offset: u64, size: u32) -> Vec<u8> {
    Body::default().u64(handle).u64(offset).u32(size).zeros(20).into_bytes()
}

fn write(offset: u64, flags: i32, data: &[u8]) -> Vec<u8> {
    let body = Body::default().u64(0).u64(offset).u32(data.len().try_into().unwrap()).u32(0).u64(0);
    body.u32(flags.try_into().unwrap()).u32(0).bytes(data).into_bytes()
}

/// The answer's body, or its error.
fn ask(session: &mut Session, opcode: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
    let answer = session.answer(&request(opcode, node, body)).expect("an answer");
    let length = u32::from_ne_bytes(answer[..4].try_into().unwrap());
    assert_eq!((usize::try_from(length).unwrap(), &answer[8..16]), (answer.len(), &77_u64.to_ne_bytes()[..]));
    match i32::from_ne_bytes(answer[4..8].try_into().unwrap()) {
        0 => Ok(answer[16..].to_vec()),
        error => Err(-error),
    }
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn lookup(session: &mut Session, parent: u64, name: &str) -> Result<u64, i32> {
    let entry = ask(session, 1, parent, format!("{name}\0").as_bytes())?;
    assert_eq!(entry.len(), 128);
    Ok(number(&entry, 0))
}

const GETATTR: [u8; 16] = [0; 16];

#[test]
fn the_beginning_agrees_on_a_protocol() {
    let init = Body::default().u32(7).u32(40).u32(131_072).u32(u32::MAX).zeros(48).into_bytes();
    let of = |part| u32::from_ne_bytes(ask(&mut session(part).0, 26, 0, &init).unwrap()[12..16].try_into().unwrap());
    assert_eq!(of(Part::Cached), abi::FLAGS | abi::NO_OPEN_SUPPORT);
    assert_eq!(of(Part::Direct), abi::FLAGS);
    assert_eq!(ask(&mut session(Part::Cached).0, 26, 0, &init).unwrap().len(), 64);
    let old = Body::default().u32(6).u32(1).u32(0).u32(0).into_bytes();
    assert_eq!(ask(&mut session(Part::Cached).0, 26, 0, &old), Err(libc::EPROTO));
}

#[test]
fn a_file_of_the_page_cache_is_not_opened_and_read_as_it_was_told() {
    let (mut session, _directory) = session(Part::Cached);
    let file = lookup(&mut session, ROOT, "proc.fixed").unwrap();
    let attr = ask(&mut session, 3, file, &GETATTR).unwrap();
    assert_eq!((attr.len(), number(&attr, 16), number(&attr, 24)), (104, file, 6));
    assert_eq!(ask(&mut session, 14, file, &[0; 8]), Err(libc::ENOSYS));
    assert_eq!(ask(&mut session, 15, file, &read(0, 0, 4096)).unwrap(), b"fixed\n");
    assert_eq!(ask(&mut session, 15, file, &read(0, 4, 1)).unwrap(), b"d");
    assert_eq!(ask(&mut session, 15, file, &read(0, u64::MAX, u32::MAX)).unwrap(), b"");
    assert_eq!(ask(&mut session, 16, file, &write(0, 0, b"x")), Err(libc::EACCES));
    assert_eq!(lookup(&mut session, ROOT, "proc.kept"), Err(libc::ENOENT), "of the other part");
    assert_eq!(ask(&mut session, 3, 999, &GETATTR), Err(libc::ESTALE));
}

#[test]
fn a_value_is_written_from_its_start_only() {
    let (mut session, _directory) = session(Part::Direct);
    let file = lookup(&mut session, ROOT, "proc.kept").unwrap();
    let handle = number(&ask(&mut session, 14, file, &[0; 8]).unwrap(), 0);
    let text = |session: &mut Session| ask(session, 15, file, &read(handle, 0, 4096));
    assert_eq!(text(&mut session).unwrap(), b"1\n");
    assert_eq!(ask(&mut session, 16, file, &write(0, 0, b"2\n")).unwrap()[..4], 2_u32.to_ne_bytes());
    assert_eq!(text(&mut session).unwrap(), b"2\n");
    assert_eq!(ask(&mut session, 16, file, &write(1, 0, b"3")).unwrap()[..4], 1_u32.to_ne_bytes());
    assert_eq!(text(&mut session).unwrap(), b"2\n", "ignored");
    ask(&mut session, 16, file, &write(2, libc::O_APPEND, b"3")).unwrap();
    assert_eq!(text(&mut session).unwrap(), b"3\n", "appended");
    assert_eq!(ask(&mut session, 16, file, &write(0, 0, b"10")), Err(libc::EINVAL));
    let setattr = |valid: u32| Body::default().u32(valid).zeros(84).into_bytes();
    assert_eq!(number(&ask(&mut session, 4, file, &setattr(1 << 3)).unwrap(), 24), 2, "truncated, as it is");
    for valid in [1, 1 << 1, 1 << 2, 1 << 3 | 1, 1 << 5] {
        assert_eq!(ask(&mut session, 4, file, &setattr(valid)), Err(libc::EPERM), "{valid}");
    }
    ask(&mut session, 18, file, &handle.to_ne_bytes().repeat(3)).unwrap();
    assert_eq!(text(&mut session), Err(libc::EBADF));
}

#[test]
fn a_directory_tells_all_its_entries_in_parts_of_any_size() {
    let (mut session, _directory) = session(Part::Cached);
    for plus in [false, true] {
        for size in [200, 4096] {
            let (mut offset, mut names) = (0, Vec::new());
            loop {
                let body = ask(&mut session, if plus { 44 } else { 28 }, ROOT, &read(0, offset, size)).unwrap();
                assert!(body.len() <= usize::try_from(size).unwrap());
                if body.is_empty() {
                    break;
                }
                let mut rest = &body[..];
                while !rest.is_empty() {
                    let entry = &rest[if plus { 128 } else { 0 }..];
                    offset = number(entry, 8);
                    let length = usize::try_from(u32::from_ne_bytes(entry[16..20].try_into().unwrap())).unwrap();
                    names.push(String::from_utf8(entry[24..24 + length].to_vec()).unwrap());
                    rest = &entry[24 + length.next_multiple_of(8)..];
                }
            }
            assert_eq!(names, [".", "..", "proc.fixed", "proc.empty", "proc.live", "sys.devices.system.cpu"]);
        }
    }
}

#[test]
fn what_is_below_a_mirror_is_forgotten_with_the_kernel() {
    let (mut session, _directory) = session(Part::Cached);
    let mirror = lookup(&mut session, ROOT, "sys.devices.system.cpu").unwrap();
    let online = lookup(&mut session, mirror, "online").unwrap();
    assert_eq!(lookup(&mut session, mirror, "online"), Ok(online));
    for hidden in ["cpu1", "..", ".", "none"] {
        assert_eq!(lookup(&mut session, mirror, hidden), Err(libc::ENOENT), "{hidden}");
    }
    assert_eq!(lookup(&mut session, mirror, "a/b"), Err(libc::EINVAL));
    assert!(ask(&mut session, 3, online, &GETATTR).is_ok());
    assert_eq!(session.answer(&request(2, online, &1_u64.to_ne_bytes())), None);
    assert!(ask(&mut session, 3, online, &GETATTR).is_ok());
    let forgets = Body::default().u32(1).u32(0).u64(online).u64(1).into_bytes();
    assert_eq!(session.answer(&request(42, 0, &forgets)), None);
    assert_eq!(ask(&mut session, 3, online, &GETATTR), Err(libc::ESTALE));
}

#[test]
fn a_directory_of_the_kernels_has_the_rows_in_it_and_what_else_the_host_has() {
    let (mut session, _directory) = session(Part::Direct);
    assert_eq!(lookup(&mut session, ROOT, "proc.sys.vm.swappiness"), Err(libc::ENOENT), "no entry of the root");
    let directory = lookup(&mut session, ROOT, "proc.sys.vm").unwrap();
    // What the host does not have, the container has neither.
    for missing in ["none", "nothing", "..", "proc.sys.vm.swappiness"] {
        assert_eq!(lookup(&mut session, directory, missing), Err(libc::ENOENT), "{missing}");
    }
    let listed = ask(&mut session, 28, directory, &read(0, 0, 65536)).unwrap();
    let lists = |name: &str| listed.windows(name.len()).any(|it| it == name.as_bytes());
    assert!(lists("swappiness") && lists("laptop_mode") && !lists("none"));
    let written = |session: &mut Session, name| {
        let file = lookup(session, directory, name).unwrap();
        let attr = ask(session, 3, file, &GETATTR).unwrap();
        // The mode and the owner.
        let owned = [76, 84].map(|at| u32::from_ne_bytes(attr[at..at + 4].try_into().unwrap()));
        let handle = number(&ask(session, 14, file, &[0; 8]).unwrap(), 0);
        let outcome = ask(session, 16, file, &write(0, 0, b"7\n")).map(drop);
        (owned, outcome, ask(session, 15, file, &read(handle, 0, 4096)).unwrap())
    };
    let mode = libc::S_IFREG | 0o644;
    assert_eq!(written(&mut session, "swappiness"), ([mode, 1000], Ok(()), b"7\n".into()));
    let hosts = std::fs::read("/proc/sys/vm/laptop_mode").unwrap();
    assert_eq!(written(&mut session, "laptop_mode"), ([mode, 0], Err(libc::EACCES), hosts));
}

#[test]
fn what_is_no_request_is_refused() {
    let (mut session, _directory) = session(Part::Cached);
    assert_eq!(session.answer(b""), None);
    assert_eq!(session.answer(&[0; 39]), None);
    let mut short = request(15, 2, &read(0, 0, 1));
    short.truncate(50);
    let answer = session.answer(&short).unwrap();
    assert_eq!(i32::from_ne_bytes(answer[4..8].try_into().unwrap()), -libc::EINVAL);
    for (opcode, errno) in [
        (12, libc::EPERM),
        (35, libc::EACCES),
        (20, libc::EINVAL),
        (39, libc::ENOTTY),
        (36, libc::ENOSYS),
        (4096, libc::ENOSYS),
    ] {
        assert_eq!(ask(&mut session, opcode, ROOT, &[]), Err(errno), "{opcode}");
    }
}

proptest! {
    /// Any bytes, with a header that fits or none, are survived; what the kernel awaits an answer to has one.
    #[test]
    fn any_request_has_an_answer(
        opcode in 0_u32..60,
        node in 0_u64..12,
        direct: bool,
        body in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let (mut session, _directory) = session(if direct { Part::Direct } else { Part::Cached });
        session.answer(&body);
        let answer = session.answer(&request(opcode, node, &body));
        let malformed = answer.as_ref().is_some_and(|it| it[4..8] == (-libc::EINVAL).to_ne_bytes());
        prop_assert_eq!(answer.is_none(), matches!(opcode, 2 | 38 | 41 | 42) && !malformed);
    }

    /// Never more than was asked for: the kernel would answer EIO.
    #[test]
    fn an_answer_is_no_longer_than_asked(offset: u64, size in 0_u32..3000, node in 1_u64..8, plus: bool) {
        let (mut session, _directory) = session(Part::Cached);
        for opcode in [15, if plus { 44 } else { 28 }] {
            if let Ok(body) = ask(&mut session, opcode, node, &read(0, offset, size)) {
                prop_assert!(body.len() <= usize::try_from(size).unwrap());
            }
        }
    }
}

/// A container with 128 MiB and a view with 64 MiB, as the root and the directory of the view in a session of the table's.
fn with_view(part: Part) -> (Session, u64, u64, std::path::PathBuf, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let own = crate::fixture::groups(directory.path(), "hierarchy/own");
    let inner = crate::fixture::groups(&own, "inner");
    crate::fixture::write(&own, "memory.max", "134217728\n");
    crate::fixture::write(&inner, "memory.max", "67108864\n");
    let emulation = Arc::new(crate::fixture::emulation(directory.path(), &own));
    let crate::views::Seen::View(number) = emulation.seen_from(&vec![(vec![], inner.clone())]) else {
        panic!("no view")
    };
    let mut session = Session::new(emulation, part);
    let view = lookup(&mut session, ROOT, &number.to_string()).unwrap();
    (session, view, number, inner, directory)
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a directory of the test's own")]
fn a_view_is_a_directory_of_what_goes_by_groups() {
    let (mut session, view, number, inner, _directory) = with_view(Part::Cached);
    let total = |session: &mut Session, file| {
        ask(session, 3, file, &GETATTR).unwrap();
        let text = String::from_utf8(ask(session, 15, file, &read(0, 0, 65536)).unwrap()).unwrap();
        text.split_whitespace().nth(1).unwrap().to_owned()
    };
    let (own, inners) = (lookup(&mut session, ROOT, "proc.meminfo"), lookup(&mut session, view, "proc.meminfo"));
    assert_eq!(
        (total(&mut session, own.unwrap()), total(&mut session, inners.unwrap())),
        ("131072".into(), "65536".into())
    );
    assert_eq!(lookup(&mut session, view, "sys.firmware"), Err(libc::ENOENT), "the container's");
    assert_eq!(lookup(&mut session, view, &number.to_string()), Err(libc::ENOENT));
    for name in ["0", "2", "-1", "1x"] {
        assert_eq!(lookup(&mut session, ROOT, name), Err(libc::ENOENT), "{name:?}");
    }
    let mirror = lookup(&mut session, view, "sys.devices.system.cpu").unwrap();
    let online = lookup(&mut session, mirror, "online").unwrap();
    ask(&mut session, 3, online, &GETATTR).unwrap();
    assert!(!ask(&mut session, 15, online, &read(0, 0, 4096)).unwrap().is_empty());
    // A view that has ended is the container.
    std::fs::remove_dir_all(inner).unwrap();
    session.views.clear();
    session.inodes.keep_views(|_| false);
    assert_eq!(total(&mut session, inners.unwrap()), "131072");
    assert_eq!(ask(&mut session, 3, view, &GETATTR).unwrap().len(), 104);
}

#[test]
fn a_view_lists_its_files_and_the_root_no_views() {
    let (mut session, view, _, _, _directory) = with_view(Part::Direct);
    let list = |session: &mut Session, inode| ask(session, 28, inode, &read(0, 0, 65536)).unwrap();
    let has = |listed: &[u8], name: &str| listed.windows(name.len()).any(|it| it == name.as_bytes());
    let (root, listed) = (list(&mut session, ROOT), list(&mut session, view));
    assert!(has(&root, "proc.stat") && has(&root, "proc.sys.kernel.panic"));
    assert!(has(&listed, "proc.stat") && !has(&listed, "proc.sys.kernel.panic"));
}
