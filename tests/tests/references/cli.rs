//! Every command's own `--help`.

use std::fmt::Write as _;

const PROGRAMS: [&str; 4] = ["perch", "stack", "shadow-scorer", "rules-backend"];

pub(crate) fn reference() -> String {
    let mut text = "# Command line\n\n\
        Generated from each program's `--help` by `make references`; a test fails when it is stale.\n"
        .to_owned();
    for program in PROGRAMS {
        let _ = write!(text, "\n## {program}\n");
        command(&mut text, program, &[]);
    }
    text
}

fn command(text: &mut String, program: &str, words: &[String]) {
    let mut arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    arguments.push("--help");
    let output = crate::run(program, &arguments);
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !help.is_empty(), "{program} {arguments:?} prints no help");
    if !words.is_empty() {
        let _ = write!(text, "\n### {program} {}\n", words.join(" "));
    }
    text.push_str("\n```text\n");
    for line in help.trim().lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("```\n");
    for subcommand in subcommands(&help) {
        command(text, program, &[words, &[subcommand]].concat());
    }
}

fn subcommands(help: &str) -> Vec<String> {
    let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let named = listed.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    let names = named.filter_map(|line| line.split_whitespace().next());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}
