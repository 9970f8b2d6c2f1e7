//! One function compiled for several widths of vectors, the widest that the processor has being taken at run time:
//! programs are built for every x86-64 processor, whose common ground is sixteen bytes and no instruction to count
//! bits.
//!
//! Every version does the same to the last bit: none of them may contract `a * b + c`, and sums keep their order.

/// Compiles a function that way. What it calls must be inlined into it, or is compiled for the common ground.
macro_rules! wide {
    ($function:item) => {
        #[multiversion::multiversion(targets(
            "x86_64+avx512f+avx512bw+avx512cd+avx512dq+avx512vl+avx512vbmi2+avx+avx2+bmi1+bmi2+lzcnt+popcnt",
            "x86_64+avx+avx2+bmi1+bmi2+lzcnt+popcnt"
        ))]
        $function
    };
}

pub(crate) use wide;
