//! The rows of `linux.seccomp`.

use super::common::TEXTS;
use super::{Field, Shape, carried, is_zero, refused, required};

const LISTENER_LATER: &str = "seccomp notification of the container's own is not implemented yet";

/// `linux.seccomp`
pub(super) const SECCOMP: &[Field] = &[
    required("defaultAction", ACTION),
    carried("defaultErrnoRet", &Shape::U32),
    carried("architectures", &Shape::List(ARCHITECTURE)),
    carried("flags", &Shape::List(FLAG)),
    refused("listenerPath", LISTENER_LATER, is_zero),
    refused("listenerMetadata", LISTENER_LATER, is_zero),
    carried("syscalls", &Shape::List(&Shape::Object(SYSCALL))),
];

const SYSCALL: &[Field] = &[
    required("names", TEXTS),
    required("action", ACTION),
    carried("errnoRet", &Shape::U32),
    carried("args", &Shape::List(&Shape::Object(ARGUMENT))),
];

const ARGUMENT: &[Field] = &[
    required("index", &Shape::Whole(0, 5)),
    required("value", &Shape::U64),
    carried("valueTwo", &Shape::U64),
    required(
        "op",
        &Shape::Name(&[
            "SCMP_CMP_NE",
            "SCMP_CMP_LT",
            "SCMP_CMP_LE",
            "SCMP_CMP_EQ",
            "SCMP_CMP_GE",
            "SCMP_CMP_GT",
            "SCMP_CMP_MASKED_EQ",
        ]),
    ),
];

const ACTION: &Shape = &Shape::Name(&[
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_TRAP",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
]);

const FLAG: &Shape = &Shape::Name(&[
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
]);

const ARCHITECTURE: &Shape = &Shape::Name(&[
    "SCMP_ARCH_NATIVE",
    "SCMP_ARCH_X86",
    "SCMP_ARCH_X86_64",
    "SCMP_ARCH_X32",
    "SCMP_ARCH_ARM",
    "SCMP_ARCH_AARCH64",
    "SCMP_ARCH_MIPS",
    "SCMP_ARCH_MIPS64",
    "SCMP_ARCH_MIPS64N32",
    "SCMP_ARCH_MIPSEL",
    "SCMP_ARCH_MIPSEL64",
    "SCMP_ARCH_MIPSEL64N32",
    "SCMP_ARCH_PPC",
    "SCMP_ARCH_PPC64",
    "SCMP_ARCH_PPC64LE",
    "SCMP_ARCH_S390",
    "SCMP_ARCH_S390X",
    "SCMP_ARCH_PARISC",
    "SCMP_ARCH_PARISC64",
    "SCMP_ARCH_RISCV64",
    "SCMP_ARCH_LOONGARCH64",
    "SCMP_ARCH_M68K",
    "SCMP_ARCH_SH",
    "SCMP_ARCH_SHEB",
]);
