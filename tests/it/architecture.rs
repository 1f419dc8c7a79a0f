use std::{fs, path::Path};

/// The modules that know no network, clock, environment or runtime.
const CORE: [&str; 11] = [
    "wire", "dialect", "channel", "text", "rules", "classify", "consult", "trace", "policy",
    "record", "session",
];

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))
}

/// The modules in the order of their declaration in lib.rs.
fn modules() -> Vec<String> {
    let text = fs::read_to_string(source().join("lib.rs")).unwrap();
    let names = text.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    names.map(str::to_owned).collect()
}

/// Every source file of a module, with its text.
fn files_of(module: &str) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut folders = vec![source().join(module)];
    let single = source().join(format!("{module}.rs"));
    if single.is_file() {
        files.push(single);
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                files.push(path);
            }
        }
    }
    files
        .into_iter()
        .map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()))
        .collect()
}

/// The first names after every `crate::` in code, groups included; comments are no imports.
fn imports(text: &str) -> Vec<String> {
    let code: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n");
    let mut names = Vec::new();
    for rest in code.split("crate::").skip(1) {
        match rest.strip_prefix('{') {
            None => names.push(first_name(rest)),
            Some(group) => names.extend(heads_of_group(group)),
        }
    }
    names
}

fn first_name(text: &str) -> String {
    text.chars().take_while(|letter| letter.is_ascii_alphanumeric() || *letter == '_').collect()
}

/// The first name of every item of a `{…}` group.
fn heads_of_group(group: &str) -> Vec<String> {
    let mut depth = 1;
    let mut heads = vec![String::new()];
    let mut in_head = true;
    for letter in group.chars() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => {
                heads.push(String::new());
                in_head = true;
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        if letter.is_ascii_alphanumeric() || letter == '_' {
            if in_head {
                heads.last_mut().unwrap().push(letter);
            }
        } else if !letter.is_whitespace() {
            in_head = false;
        }
    }
    heads.retain(|head| !head.is_empty());
    heads
}

#[test]
fn modules_use_only_those_declared_above_them() {
    let order = modules();
    assert_eq!(order.len(), 17, "{order:?}");
    let mut wrong = Vec::new();
    for (place, module) in order.iter().enumerate() {
        for (file, text) in files_of(module) {
            for name in imports(&text) {
                match order.iter().position(|other| *other == name) {
                    Some(other) if other > place => wrong.push(format!("{file}: crate::{name}")),
                    _ => {}
                }
            }
        }
    }
    assert!(wrong.is_empty(), "these run against lib.rs' order:\n{}", wrong.join("\n"));
}

#[test]
fn the_core_knows_no_network_clock_environment_or_runtime() {
    const BANNED: [&str; 7] = [
        "tokio::",
        "hyper",
        "std::net",
        "std::env",
        "Instant::now",
        "SystemTime::now",
        "Timestamp::now",
    ];
    let mut wrong = Vec::new();
    for module in CORE {
        for (file, text) in files_of(module) {
            // A file of tests is no part of the core.
            if file.ends_with("/tests.rs") || file.contains("/tests/") {
                continue;
            }
            for (number, line) in text.lines().enumerate() {
                let line = line.trim_start();
                // What a module's own tests do is their affair: they stand at the end.
                if line.starts_with("#[cfg(test)]") {
                    break;
                }
                if line.starts_with("//") {
                    continue;
                }
                for name in BANNED.iter().filter(|name| line.contains(**name)) {
                    wrong.push(format!("{file}:{}: {name}", number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "the core names:\n{}", wrong.join("\n"));
}

#[test]
fn imports_are_read_out_of_groups_too() {
    let text =
        "use crate::{\n    a::{b, c},\n    d,\n    e::f,\n};\n// crate::g\nlet x = crate::h::i();";
    assert_eq!(imports(text), ["a", "d", "e", "h"]);
}

#[test]
fn tests_that_the_page_about_bypasses_names_exist() {
    let page = include_str!("../../docs/bypasses.md");
    let sources: String = files_of("").into_iter().map(|(_, text)| text).collect();
    let names: Vec<&str> = page
        .split('`')
        .filter(|name| {
            name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
        .filter(|name| name.len() > 20)
        .collect();
    assert!(names.len() >= 7, "{names:?}");
    let missing: Vec<_> =
        names.into_iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
