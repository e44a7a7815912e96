use super::*;

#[test]
fn a_quota_leaves_the_first_that_it_needs() {
    let set = || vec![1, 3, 5, 7];
    assert_eq!(cut(set(), None), set());
    for (quota, count) in [(0.0, 1), (0.5, 1), (1.0, 1), (1.01, 2), (2.0, 2), (3.5, 4), (4.0, 4), (99.0, 4)] {
        assert_eq!(cut(set(), Some(quota)), set()[..count], "{quota}");
    }
    assert_eq!(cut(Vec::new(), Some(2.0)), [0]);
}

#[test]
fn the_least_quota_of_all_levels_counts() {
    let files = |own: &[(&str, &str)], above: &[(&str, &str)], v2| {
        let root = crate::render::groups::tests::levels(own, above);
        quota(&crate::render::groups::tests::groups(root.path(), v2))
    };
    let v2 = |own, above| files(&[("cpu.max", own)], &[("cpu.max", above)], true);
    assert_eq!(v2("max 100000\n", "max 100000\n"), None);
    assert_eq!(v2("150000 100000\n", "max 100000\n"), Some(1.5));
    assert_eq!(v2("150000 100000\n", "50000 100000\n"), Some(0.5));
    let v1 = |own, above| {
        let period = ("cpu.cfs_period_us", "100000\n");
        files(&[("cpu.cfs_quota_us", own), period], &[("cpu.cfs_quota_us", above), period], false)
    };
    assert_eq!(v1("-1\n", "-1\n"), None);
    assert_eq!(v1("-1\n", "200000\n"), Some(2.0));
    assert_eq!(v1("10000\n", "200000\n"), Some(0.1));
    assert_eq!(files(&[], &[], true), None);
}
