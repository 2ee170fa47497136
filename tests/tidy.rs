//! Owns the rules on the shape of the repository; reads files as text and judges no behaviour.
//!
//! Each rule is one function from a file to its problems and one test that runs it over the
//! repository. The tests at the end feed every rule small samples, so that no rule passes by
//! finding nothing. What rustfmt and clippy check is left to them.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::Path;

/// Places that break a rule today. The list may only shrink: an entry that is no longer needed
/// fails the rule's test. The second half is `Problem::subject`.
const EXCEPTIONS: &[(Rule, &str)] = &[];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    Header,
    FrontDoor,
    Columns,
    FunctionLength,
    FileLength,
    FileName,
    Imports,
    Unsafe,
    Words,
    Units,
}

impl Rule {
    fn problems(self, file: &File) -> Vec<Problem> {
        match self {
            Rule::Words => words(file),
            Rule::Units => units(file),
            _ if !file.is_rust() => Vec::new(),
            Rule::Header => header(file),
            Rule::FrontDoor => front_door(file),
            Rule::Columns => columns(file),
            Rule::FunctionLength => function_length(file),
            Rule::FileLength => file_length(file),
            Rule::FileName => file_name(file),
            Rule::Imports => imports(file),
            Rule::Unsafe => unsafe_code(file),
        }
    }
}

/// What is left to report once the exceptions are counted off, and the exceptions that cover
/// nothing.
fn faults(rule: Rule, problems: Vec<Problem>, exceptions: &[(Rule, &str)]) -> Vec<String> {
    let excepted: BTreeSet<&str> =
        exceptions.iter().filter(|(of, _)| *of == rule).map(|(_, subject)| *subject).collect();
    let met: BTreeSet<&str> = problems.iter().map(|problem| problem.subject.as_str()).collect();
    let open = problems.iter().filter(|problem| !excepted.contains(problem.subject.as_str()));
    let stale = excepted.difference(&met).map(|subject| {
        format!("tests/tidy.rs: {subject} keeps the {rule:?} rule; delete it from EXCEPTIONS")
    });
    open.map(|problem| problem.text.clone()).chain(stale).collect()
}

struct Problem {
    /// What an exception names: the file, or the file and the function.
    subject: String,
    text: String,
}

struct File {
    /// From the root of the repository, with `/` between the parts.
    path: String,
    text: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    fn is_rust(&self) -> bool {
        let roots = ["src/", "bench/src/", "tests/"];
        self.path.ends_with(".rs") && roots.iter().any(|root| self.path.starts_with(root))
    }

    fn problem(&self, line: usize, what: impl AsRef<str>, remedy: &str) -> Problem {
        let text = format!("{}:{line}: {}; {remedy}", self.path, what.as_ref());
        Problem { subject: self.path.clone(), text }
    }
}

/// Every text file of the repository but what is built, measured, locked or licensed.
fn repository() -> Vec<File> {
    let mut files = Vec::new();
    collect(Path::new(env!("CARGO_MANIFEST_DIR")), &mut files);
    for known in ["src/lib.rs", "tests/tidy.rs", ".ci/run", "systemd/ringmain.service"] {
        assert!(files.iter().any(|file| file.path == known), "the walk does not reach {known}");
    }
    files
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    const SKIPPED: [&str; 4] = ["target", "bench/results", "Cargo.lock", "LICENSE"];
    for entry in fs::read_dir(folder).unwrap() {
        let full = entry.unwrap().path();
        let path = full.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_str().unwrap();
        if SKIPPED.contains(&path) || (path.starts_with('.') && !path.starts_with(".ci")) {
            continue;
        }
        if full.is_dir() {
            collect(&full, files);
        } else if let Ok(text) = String::from_utf8(fs::read(&full).unwrap()) {
            files.push(File::new(path, &text));
        }
    }
}

fn header(file: &File) -> Vec<Problem> {
    let first = file.text.lines().next().unwrap_or("").trim_end();
    if first.starts_with("//!") && first.chars().count() >= 20 {
        return Vec::new();
    }
    let what = "the file does not begin with a `//!` line of 20 characters or more";
    vec![file.problem(1, what, "say there what it owns and what it does not do")]
}

/// A `mod.rs` shows what is in its folder. It may hold `mod` and `use` lines and the definitions
/// that several files of the folder share, up to `VOCABULARY_LINES` lines of code without their
/// attributes. Behaviour (`fn`, `impl`, macros, inline modules) has a file of its own, where its
/// first line says what it is.
fn front_door(file: &File) -> Vec<Problem> {
    const VOCABULARY_LINES: usize = 80;
    if !file.path.ends_with("/mod.rs") {
        return Vec::new();
    }
    let code = code_of(&file.text);
    let tokens = tokens(&code);
    let mut problems = Vec::new();
    let mut vocabulary = BTreeSet::new();
    for (keyword, item) in items(&tokens) {
        match keyword {
            "use" => {}
            "mod" if tokens[item.end - 1].text == ";" => {}
            "struct" | "enum" | "type" | "const" | "trait" => {
                vocabulary.extend(tokens[item].iter().map(|token| token.line));
            }
            _ => {
                let what = format!("`{keyword}` does not belong in a folder's front door");
                let remedy = "move it to a file of its own in the folder";
                problems.push(file.problem(tokens[item.start].line, what, remedy));
            }
        }
    }
    if vocabulary.len() > VOCABULARY_LINES {
        let what = format!("{} lines of definitions, over {VOCABULARY_LINES}", vocabulary.len());
        problems.push(file.problem(1, what, "move those that belong together to a file"));
    }
    problems
}

fn columns(file: &File) -> Vec<Problem> {
    const COLUMNS: usize = 100;
    let long = file.text.lines().enumerate().filter(|(_, line)| line.chars().count() > COLUMNS);
    let what = format!("the line is longer than {COLUMNS} columns");
    long.map(|(index, _)| file.problem(index + 1, &what, "break it")).collect()
}

fn function_length(file: &File) -> Vec<Problem> {
    const LINES: usize = 70;
    let code = code_of(&file.text);
    let tokens = tokens(&code);
    let mut problems = Vec::new();
    for (index, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "fn") {
        // `fn(u8)` is a type and `fn $name` is a macro's; neither has a body to measure.
        let Some(name) = tokens.get(index + 1).filter(|next| next.text.starts_with(is_name)) else {
            continue;
        };
        let end = item_end(&tokens, index, "fn");
        let lines = tokens[end - 1].line - token.line + 1;
        if lines > LINES {
            let what = format!("`fn {}` has {lines} lines, over {LINES}", name.text);
            let problem = file.problem(token.line, what, "name its parts and split it there");
            problems.push(Problem { subject: format!("{} {}", file.path, name.text), ..problem });
        }
    }
    problems
}

fn file_length(file: &File) -> Vec<Problem> {
    const LINES: usize = 600;
    let code = code_of(&file.text);
    let lines = file.text.lines().count() - unit_test_lines(&tokens(&code));
    if lines <= LINES {
        return Vec::new();
    }
    let what = format!("the file has {lines} lines without its tests, over {LINES}");
    vec![file.problem(1, what, "give each responsibility a file")]
}

/// How many lines `#[cfg(test)] mod tests { .. }` takes.
fn unit_test_lines(tokens: &[Token]) -> usize {
    let mark = ["#", "[", "cfg", "(", "test", ")", "]", "mod", "tests", "{"];
    let marked = |window: &[Token]| window.iter().map(|token| token.text).eq(mark);
    let Some(start) = tokens.windows(mark.len()).position(marked) else { return 0 };
    let end = closing(tokens, start + mark.len() - 1);
    tokens[end].line - tokens[start].line + 1
}

fn file_name(file: &File) -> Vec<Problem> {
    const BANNED: [&str; 6] = ["utils", "common", "helpers", "manager", "handler", "misc"];
    let banned = file.path.split(['/', '.', '_']).filter(|word| BANNED.contains(word));
    let what = |word| format!("`{word}` in a file's name says nothing about what it owns");
    banned.map(|word| file.problem(1, what(word), "name it by a word of the lexicon")).collect()
}

/// Who may import whom: a top-level module, then those it may name besides itself.
const IMPORTS: &[(&str, &str)] = &[
    ("main", "commands"),
    ("commands", "server proxy control observe view config engine balance tls protocol"),
    ("server", "proxy control observe view config engine balance tls protocol"),
    ("proxy", "engine view balance tls protocol observe"),
    ("control", "balance tls protocol observe config"),
    ("observe", "balance protocol"),
    ("view", "balance tls protocol"),
    ("config", "balance protocol"),
    ("engine", ""),
    ("balance", ""),
    ("tls", "protocol"),
    ("protocol", ""),
];

fn imports(file: &File) -> Vec<Problem> {
    let Some(own) = module_path(&file.path) else { return Vec::new() };
    let home = if file.path == "src/main.rs" { Some("main") } else { own.first().copied() };
    // `lib.rs` declares the modules and imports none of them.
    let Some(home) = home else { return Vec::new() };
    let Some((_, allowed)) = IMPORTS.iter().find(|(module, _)| *module == home) else {
        let what = format!("`{home}` is not on the map of modules");
        return vec![file.problem(1, what, "give it a row in IMPORTS of tests/tidy.rs")];
    };
    let code = code_of(&file.text);
    let mut problems = Vec::new();
    for (line, named) in named_modules(&tokens(&code), &own) {
        match named {
            Some(module) if module == home || allowed.split(' ').any(|name| name == module) => {}
            Some(module) => {
                let what = format!("`{home}` names `{module}`, and may name only: {allowed}");
                let remedy = "hand it over as a value, or move it to a module both may name";
                problems.push(file.problem(line, what, remedy));
            }
            None => {
                let what = "a path names the whole crate, which hides what is imported";
                problems.push(file.problem(line, what, "name the module"));
            }
        }
    }
    problems
}

/// `src/proxy/relay.rs` is `["proxy", "relay"]`; `src/lib.rs` and `src/main.rs` are the root.
fn module_path(path: &str) -> Option<Vec<&str>> {
    let inner = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut parts: Vec<&str> = inner.split('/').collect();
    if parts.last() == Some(&"mod") || inner == "lib" || inner == "main" {
        parts.pop();
    }
    Some(parts)
}

/// The top-level module of every path that starts at `crate`, `ringmain`, `self` or `super`, with
/// its line; `None` for the crate as a whole. Paths from inline modules start one step deeper.
fn named_modules<'a>(tokens: &[Token<'a>], own: &[&'a str]) -> Vec<(usize, Option<&'a str>)> {
    let mut named = Vec::new();
    let mut inline: Vec<(&str, usize)> = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        inline.retain(|(_, end)| index < *end);
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
        if token.text == "mod" && text(index + 2) == "{" {
            inline.push((text(index + 1), closing(tokens, index + 2)));
        }
        let (before, after) = (text(index.wrapping_sub(1)), text(index + 1));
        let visibility = before == "(" && text(index.wrapping_sub(2)) == "pub";
        let starts = match token.text {
            "crate" | "super" => before != "::" && !visibility,
            "ringmain" => after == "::" || before == "use",
            "self" => before != "::" && after == "::",
            _ => false,
        };
        if starts {
            let base = own.iter().copied().chain(inline.iter().map(|(name, _)| *name)).collect();
            resolve(tokens, index, base, &mut named);
        }
    }
    named
}

/// Follows one path, or one branch of a `use` tree, from `at` in the module `base` until its
/// top-level module is known.
fn resolve<'a>(
    tokens: &[Token<'a>],
    mut at: usize,
    mut base: Vec<&'a str>,
    named: &mut Vec<(usize, Option<&'a str>)>,
) {
    let line = tokens[at].line;
    loop {
        match tokens[at].text {
            "crate" | "ringmain" => base.clear(),
            "super" => drop(base.pop()),
            "self" => {}
            _ => break,
        }
        if tokens.get(at + 1).is_none_or(|next| next.text != "::") {
            return named.push((line, base.first().copied()));
        }
        at += 2;
    }
    if tokens[at].text == "{" {
        let end = closing(tokens, at);
        let mut branch = at + 1;
        while branch < end {
            resolve(tokens, branch, base.clone(), named);
            branch = until_comma(tokens, branch, end) + 1;
        }
    } else {
        let first = Some(tokens[at].text).filter(|text| text.starts_with(is_name));
        named.push((line, base.first().copied().or(first)));
    }
}

/// The next comma that is in no bracket, or `end`.
fn until_comma(tokens: &[Token], mut at: usize, end: usize) -> usize {
    while at < end && tokens[at].text != "," {
        at = if tokens[at].opens() { closing(tokens, at) + 1 } else { at + 1 };
    }
    at.min(end)
}

fn unsafe_code(file: &File) -> Vec<Problem> {
    let code = code_of(&file.text);
    let tokens = tokens(&code);
    let mut problems = Vec::new();
    for index in (0..tokens.len()).filter(|index| tokens[*index].text == "unsafe") {
        let line = tokens[index].line;
        let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
        let noun = index + 1 + usize::from(text(index + 1) == "extern");
        if !file.path.starts_with("src/engine/") {
            let remedy = "move it there, behind a safe function";
            problems.push(file.problem(line, "`unsafe` outside src/engine", remedy));
        } else if text(noun) == "fn" && text(noun + 1) == "(" {
            // The type of a function pointer: nothing is promised here.
        } else if !explained(file, &code, &tokens, index, text(noun)) {
            let what = "`unsafe` without its reason";
            let remedy = "write `// SAFETY:` above it and say who keeps the promise";
            problems.push(file.problem(line, what, remedy));
        }
    }
    problems
}

/// Whether the statement or item that holds the token at `index` has a comment with the reason,
/// inside it or in the block right above. A function or a trait may state it as `# Safety`, for
/// those who call or implement it.
fn explained(file: &File, code: &str, tokens: &[Token], index: usize, noun: &str) -> bool {
    let ends = |token: &Token| [";", "{", "}", ","].contains(&token.text);
    let start = tokens[..index].iter().rposition(ends).map_or(0, |end| end + 1);
    let (first, last) = (tokens[start].line - 1, tokens[index].line - 1);
    let lines: Vec<(&str, &str)> = file.text.lines().zip(code.lines()).collect();
    let is_comment =
        |(text, code): &(&str, &str)| !text.trim().is_empty() && code.trim().is_empty();
    let above = lines[..first].iter().rev().take_while(|line| is_comment(line));
    above.chain(&lines[first..=last]).any(|(text, _)| {
        text.contains("SAFETY:") || (matches!(noun, "fn" | "trait") && text.contains("# Safety"))
    })
}

/// Marks of unfinished work, and places on one machine. The bars keep this file clear of them.
const MARKS: &str =
    "TO|DO, FIX|ME, XX|X, to|do!, unimple|mented!, db|g!, /wo|rk/, /ro|ot/, /ho|me/";

/// How the project came to be is not its subject. In lower case; any case is found.
const ORIGINS: &str = "ass|istant, chat|gpt, cla|ude, closing| note, co|pilot, foun|der, \
    iss|ue #, language| model, tick|et #, work|place, work|tree";

fn words(file: &File) -> Vec<Problem> {
    let (marks, origins) = (MARKS.replace('|', ""), ORIGINS.replace('|', ""));
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let lower = line.to_lowercase();
        let marks = marks.split(", ").filter(|word| holds(line, word));
        for word in marks.chain(origins.split(", ").filter(|word| holds(&lower, word))) {
            let what = format!("`{word}` has no place in the text");
            problems.push(file.problem(index + 1, what, "finish it, or say it of the project"));
        }
    }
    problems
}

/// Whether `line` holds `word` as a word: with nothing of a name right before or after it.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let runs_on = word.ends_with(is_name) && after.is_some_and(is_name);
        !runs_on && !before.is_some_and(is_name)
    })
}

fn units(file: &File) -> Vec<Problem> {
    const SECTIONS: [&str; 4] = ["[Unit]", "[Service]", "[Socket]", "[Install]"];
    let unit = file.path.ends_with(".service") || file.path.ends_with(".socket");
    let mut problems = Vec::new();
    let mut section = None;
    for (index, line) in file.text.lines().enumerate().filter(|_| unit) {
        let mut wrong = |what, remedy| problems.push(file.problem(index + 1, what, remedy));
        if line.is_empty() || line.starts_with('#') {
        } else if line.starts_with('[') {
            section = Some(line);
            if !SECTIONS.contains(&line) {
                wrong("the section is not known", "use one of systemd.unit(5)");
            }
        } else if section.is_none() {
            wrong("a directive before the first section", "move it into its section");
        } else if !is_directive(line) {
            wrong("the line is not `Key=Value`", "write one directive on one line");
        }
    }
    problems
}

fn is_directive(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, value)| {
        let named = key.starts_with(|first: char| first.is_ascii_uppercase())
            && key.chars().all(|char| char.is_ascii_alphanumeric());
        named && value.trim() == value && !value.is_empty() && !value.ends_with('\\')
    })
}

/// A word, a `::` or a single sign of code, with its line from 1 on.
#[derive(Clone, Copy)]
struct Token<'a> {
    text: &'a str,
    line: usize,
}

impl Token<'_> {
    fn opens(&self) -> bool {
        matches!(self.text, "(" | "[" | "{")
    }

    fn closes(&self) -> bool {
        matches!(self.text, ")" | "]" | "}")
    }
}

fn is_name(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (index, mut rest) in code.lines().enumerate() {
        while let Some(first) = rest.trim_start().chars().next() {
            rest = rest.trim_start();
            let length = match first {
                _ if is_name(first) => rest.find(|char| !is_name(char)).unwrap_or(rest.len()),
                ':' if rest.starts_with("::") => 2,
                _ => first.len_utf8(),
            };
            let (text, after) = rest.split_at(length);
            tokens.push(Token { text, line: index + 1 });
            rest = after;
        }
    }
    tokens
}

/// The top-level items: the word each begins with, and its tokens without its attributes.
fn items<'a>(tokens: &[Token<'a>]) -> Vec<(&'a str, Range<usize>)> {
    let mut items = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if tokens[at].text == "#" {
            let inner = usize::from(tokens[at + 1].text == "!");
            at = closing(tokens, at + 1 + inner) + 1;
            continue;
        }
        let start = at;
        if tokens[at].text == "pub" {
            at += 1;
            at = if tokens[at].text == "(" { closing(tokens, at) + 1 } else { at };
        }
        let constant_function = tokens[at].text == "const" && tokens[at + 1].text == "fn";
        let keyword = if constant_function { "fn" } else { tokens[at].text };
        at = item_end(tokens, at, keyword);
        items.push((keyword, start..at));
    }
    items
}

/// One past the last token of the item at `at`: its `;`, or its closing brace, whichever is first.
fn item_end(tokens: &[Token], mut at: usize, keyword: &str) -> usize {
    // Braces inside these belong to a list or to a value, and a `;` follows.
    let has_value = matches!(keyword, "use" | "type" | "const" | "static");
    while at < tokens.len() && tokens[at].text != ";" {
        let body = tokens[at].text == "{" && !has_value;
        at = if tokens[at].opens() { closing(tokens, at) } else { at };
        if body {
            break;
        }
        at += 1;
    }
    tokens.len().min(at + 1)
}

/// The bracket that closes the one at `open`, or the last token.
fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.opens() {
            depth += 1;
        } else if token.closes() {
            depth -= 1;
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len() - 1
}

/// The text with comments, strings and characters blanked, every line and column in its place.
/// The `r#` of a raw name is blanked as well: the name is then read like any other.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let (end, is_code) = lexeme(&chars, at);
        let blank = |char: &char| if is_code || *char == '\n' { *char } else { ' ' };
        code.extend(chars[at..end].iter().map(blank));
        at = end;
    }
    code
}

/// Where the comment, literal, word or sign at `at` ends, and whether it is code.
fn lexeme(chars: &[char], at: usize) -> (usize, bool) {
    let rest = &chars[at..];
    let word = rest.iter().take_while(|char| is_name(**char)).count();
    let hashes = rest[word..].iter().take_while(|char| **char == '#').count();
    let quoted = rest.get(word + hashes) == Some(&'"');
    let text: String = rest[..word].iter().collect();
    match (text.as_str(), rest) {
        ("r" | "br" | "cr", _) if quoted => (raw_string_end(chars, at + word, hashes), false),
        ("r", _) if hashes == 1 => (at + 2, false),
        (_, _) if word > 0 => (at + word, true),
        (_, ['/', '/', ..]) => (at + rest.iter().take_while(|char| **char != '\n').count(), false),
        (_, ['/', '*', ..]) => (block_comment_end(chars, at), false),
        (_, ['"', ..]) => (quoted_end(chars, at + 1, '"'), false),
        (_, ['\'', '\\', ..]) => (quoted_end(chars, at + 1, '\''), false),
        (_, ['\'', _, '\'', ..]) => (at + 3, false),
        _ => (at + 1, true),
    }
}

fn quoted_end(chars: &[char], mut at: usize, quote: char) -> usize {
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    chars.len().min(at + 1)
}

/// `at` is the first hash, or the quote where there is none.
fn raw_string_end(chars: &[char], at: usize, hashes: usize) -> usize {
    let end: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let start = at + end.len();
    let inner = chars[start..].windows(end.len()).position(|window| window == end);
    inner.map_or(chars.len(), |length| start + length + end.len())
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rule: Rule) {
        let problems = repository().iter().flat_map(|file| rule.problems(file)).collect();
        let faults = faults(rule, problems, EXCEPTIONS);
        assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    }

    #[test]
    fn every_file_says_what_it_owns() {
        check(Rule::Header);
    }

    #[test]
    fn mod_files_are_front_doors() {
        check(Rule::FrontDoor);
    }

    #[test]
    fn lines_fit_in_the_columns() {
        check(Rule::Columns);
    }

    #[test]
    fn functions_fit_on_a_screen() {
        check(Rule::FunctionLength);
    }

    #[test]
    fn files_stay_short() {
        check(Rule::FileLength);
    }

    #[test]
    fn file_names_say_something() {
        check(Rule::FileName);
    }

    #[test]
    fn modules_import_only_what_the_map_allows() {
        check(Rule::Imports);
    }

    #[test]
    fn unsafe_stays_in_the_engine_and_is_explained() {
        check(Rule::Unsafe);
    }

    #[test]
    fn the_text_speaks_of_the_project_alone() {
        check(Rule::Words);
    }

    #[test]
    fn units_hold_well_formed_directives() {
        check(Rule::Units);
    }

    /// What the rule says of one file; the samples below are files that never exist.
    fn found(rule: Rule, path: &str, text: &str) -> Vec<String> {
        faults(rule, rule.problems(&File::new(path, text)), &[])
    }

    #[track_caller]
    fn accepts(rule: Rule, path: &str, text: &str) {
        assert_eq!(found(rule, path, text), [""; 0], "{text}");
    }

    /// The rule reports the sample once, at this line.
    #[track_caller]
    fn rejects(rule: Rule, path: &str, line: usize, text: &str) {
        let found = found(rule, path, text);
        assert!(
            found.len() == 1 && found[0].starts_with(&format!("{path}:{line}: ")),
            "{text}\n{found:?}"
        );
    }

    #[test]
    fn a_missing_or_empty_header_is_found() {
        for text in ["", "fn main() {}\n", "//! Short.\n", "// Owns the sessions of a worker.\n"] {
            rejects(Rule::Header, "bench/src/x.rs", 1, text);
        }
        accepts(Rule::Header, "src/x.rs", "//! Owns the sessions of a worker.\n");
        accepts(Rule::Header, "configs/x.toml", "workers = 1\n");
    }

    #[test]
    fn behaviour_in_a_front_door_is_found() {
        let behaviour = [
            "fn f() {}",
            "pub const fn f() {}",
            "impl A {}",
            "pub(crate) mod inner { pub struct A; }",
            "macro_rules! m { () => { struct A; } }",
            "thread_local! { static A: u8 = 1; }",
        ];
        for item in behaviour {
            rejects(Rule::FrontDoor, "src/x/mod.rs", 3, &format!("//! Docs.\nmod a;\n{item}\n"));
            accepts(Rule::FrontDoor, "src/x/y.rs", item);
        }
    }

    #[test]
    fn a_front_door_may_hold_a_little_vocabulary() {
        let door = "//! Docs.\n#![allow(x)]\nmod a;\n#[cfg(test)]\npub(crate) mod b;\n\
            pub use a::{One, Two};\n#[derive(Debug)]\npub struct S { a: [u8; 2] }\nstruct T(u8);\n\
            pub(in crate::x) enum E { A }\ntype U = u8;\nconst C: S = S { a: [1; 2] };\n\
            pub trait P { fn p(&self); }\n";
        accepts(Rule::FrontDoor, "src/x/mod.rs", door);
        let definition = |fields: usize| format!("struct S {{\n{}}}\n", "a: u8,\n".repeat(fields));
        accepts(Rule::FrontDoor, "src/x/mod.rs", &definition(78));
        rejects(Rule::FrontDoor, "src/x/mod.rs", 1, &definition(79));
    }

    #[test]
    fn a_long_line_is_found() {
        accepts(Rule::Columns, "tests/x.rs", &"é".repeat(100));
        rejects(Rule::Columns, "tests/x.rs", 2, &format!("\n//{}", "é".repeat(99)));
    }

    #[test]
    fn a_long_function_is_found() {
        let function = |lines: usize| {
            let body = "let a = '}';\n".repeat(lines);
            format!("\nfn f<T>(_: [u8; 2])\nwhere T: Fn(u8) {{\n{body}}}\n")
        };
        accepts(Rule::FunctionLength, "src/x.rs", &function(67));
        rejects(Rule::FunctionLength, "src/x.rs", 2, &function(68));
        let types = "trait T { fn f(&self) -> [u8; 2]; }\nstruct S(fn(u8));\n";
        accepts(Rule::FunctionLength, "src/x.rs", &format!("{types}{}", "\n".repeat(99)));
    }

    #[test]
    fn a_long_file_is_found_and_its_tests_are_free() {
        let tests = format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "// {\n".repeat(99));
        let file = |lines: usize| format!("{}{tests}", "const A: u8 = b'{';\n".repeat(lines));
        accepts(Rule::FileLength, "src/x.rs", &file(600));
        rejects(Rule::FileLength, "src/x.rs", 1, &file(601));
    }

    #[test]
    fn a_name_without_meaning_is_found() {
        for path in ["src/utils.rs", "tests/common/mod.rs", "bench/src/pool_manager.rs"] {
            rejects(Rule::FileName, path, 1, "");
        }
        accepts(Rule::FileName, "src/proxy/commons.rs", "");
    }

    #[test]
    fn a_forbidden_import_is_found() {
        for (path, text) in [
            ("src/proxy/relay.rs", "use crate::control::Health;"),
            ("src/control/mod.rs", "fn f() { crate::proxy::f() }"),
            ("src/engine/driver.rs", "pub(in crate::engine) use crate::{balance};"),
            ("src/view/mod.rs", "use crate::{balance::Pool, protocol, engine::{Ring, self},};"),
            ("src/balance/pool.rs", "macro_rules! m { () => { $crate::view::f() } }"),
            ("src/protocol/mod.rs", "use super::view;"),
            ("src/protocol/syslog.rs", "use super::super::view;"),
            ("src/protocol/syslog.rs", "use super::{super::{view::View}};"),
            ("src/observe/log.rs", "mod tests { use super::super::super::config::Config; }"),
            ("src/config/mod.rs", "use self::super::observe;"),
            ("src/config/mod.rs", "use ::ringmain::r#observe;"),
            ("src/server.rs", "use crate::commands;"),
            ("src/main.rs", "use ringmain::server;"),
            ("src/proxy/relay.rs", "use crate::Session;"),
        ] {
            let mut found = found(Rule::Imports, path, text);
            found.dedup();
            assert!(found.len() == 1 && found[0].contains("may name only"), "{text}\n{found:?}");
        }
    }

    #[test]
    fn a_way_around_the_map_is_found() {
        for text in [
            "use crate::*;",
            "use crate as all;",
            "use crate::{self as all};",
            "use super::super::*;",
            "extern crate self as all;",
        ] {
            let found = found(Rule::Imports, "src/proxy/relay.rs", text);
            assert!(found.len() == 1 && found[0].contains("whole crate"), "{text}\n{found:?}");
        }
        rejects(Rule::Imports, "src/extra/mod.rs", 1, "");
    }

    #[test]
    fn an_allowed_import_is_accepted() {
        for (path, text) in [
            ("src/main.rs", "use ringmain::commands::run;"),
            ("src/commands/run.rs", "use crate::{config::Config, server};"),
            ("src/proxy/relay.rs", "use crate::engine::Socket;\nuse super::{listener, session};"),
            ("src/proxy/relay.rs", "mod tests { use super::*; use super::super::session; }"),
            ("src/proxy/relay.rs", "pub(super) fn f(&self) { self.control::<u8>() }"),
            ("src/proxy/relay.rs", "pub(crate) struct S; // see crate::control"),
            ("src/lib.rs", "pub mod proxy;\npub mod control;"),
            ("tests/simulation/main.rs", "use crate::anything;"),
        ] {
            accepts(Rule::Imports, path, text);
        }
    }

    #[test]
    fn unsafe_in_the_wrong_place_or_without_its_reason_is_found() {
        let block = "fn f() {\n    // SAFETY: the slot owns the buffer.\n    unsafe { g() }\n}\n";
        rejects(Rule::Unsafe, "src/proxy/x.rs", 3, block);
        rejects(Rule::Unsafe, "tests/x.rs", 3, block);
        rejects(Rule::Unsafe, "bench/src/x.rs", 3, block);
        for text in [
            "\nlet a = unsafe { g() };",
            "// SAFETY: said too early.\n\nunsafe impl Send for A {}",
            "/* SAFETY: of the first. */ unsafe impl Send for A {}\nunsafe impl Sync for A {}",
            "/// # Safety\n/// Not the promise of an implementation.\nunsafe impl Send for A {}",
            "/// Docs.\npub unsafe fn f() {}",
            "let safety = \"no comment\";\nunsafe extern \"C\" { fn f(); }",
        ] {
            let found = found(Rule::Unsafe, "src/engine/x.rs", text);
            assert!(found.len() == 1 && found[0].contains("its reason"), "{text}\n{found:?}");
        }
    }

    #[test]
    fn explained_unsafe_in_the_engine_is_accepted() {
        for text in [
            "// SAFETY: the slot owns it\n// until it ends.\nlet a =\n  unsafe { g() };",
            "match a {\n  // SAFETY: checked above.\n  1 => unsafe { g() },\n  _ => {}\n}",
            "// SAFETY: no shared state.\n#[allow(x)]\nunsafe impl Send for A {}",
            "/// # Safety\n/// `a` is in use.\n#[inline]\npub unsafe fn f() {}",
            "/// # Safety\n/// One thread.\npub unsafe trait T {}",
            "struct V { wake: unsafe fn(*const ()), drop: unsafe extern \"C\" fn(u8) }",
            "// `unsafe` in a comment, and in \"a string\"\nlet a = \"unsafe { }\";",
        ] {
            accepts(Rule::Unsafe, "src/engine/x.rs", text);
        }
    }

    #[test]
    fn every_banned_word_is_found() {
        let words = format!("{MARKS}, {ORIGINS}").replace('|', "");
        assert_eq!(words.split(", ").count(), 20);
        for word in words.split(", ") {
            rejects(Rule::Words, "README.md", 2, &format!("Plain.\nSee ({word})"));
        }
        rejects(Rule::Words, "configs/x.toml", 1, &"# foun|ders: a Foun|der.".replace('|', ""));
        accepts(Rule::Words, "x.sh", &"mktemp XX|XXXX; hardwo|rk/; db|g_macro".replace('|', ""));
    }

    #[test]
    fn a_malformed_unit_is_found() {
        let unit = |line: &str| format!("# Why.\n[Unit]\n\n{line}\n");
        for line in ["[Servic]", "Restart", "=no", "Restart=", "Restart = no", "exec=a", "A=b \\"] {
            rejects(Rule::Units, "systemd/x.service", 4, &unit(line));
        }
        rejects(Rule::Units, "systemd/x.socket", 1, "ListenStream=514\n[Socket]\n");
        accepts(Rule::Units, "systemd/x.service", &unit("ExecStart=/usr/bin/x --a=b"));
        accepts(Rule::Units, "systemd/README.md", "Packaging notes.\n");
    }

    #[test]
    fn an_exception_covers_its_subject_alone_and_goes_when_it_is_not_needed() {
        let problems = || {
            let long = "fn f() {\n".to_owned() + &"\n".repeat(70) + "}\n";
            let text = long.clone() + &long.replace("fn f", "fn g");
            Rule::FunctionLength.problems(&File::new("src/x.rs", &text))
        };
        let left = |exceptions| faults(Rule::FunctionLength, problems(), exceptions);
        assert_eq!(left(&[]).len(), 2);
        let one = left(&[(Rule::FunctionLength, "src/x.rs f"), (Rule::Columns, "src/x.rs g")]);
        assert!(one.len() == 1 && one[0].contains("`fn g` has 72 lines"), "{one:?}");
        let stale = faults(Rule::Header, Vec::new(), &[(Rule::Header, "src/y.rs")]);
        assert!(stale.len() == 1 && stale[0].contains("src/y.rs keeps"), "{stale:?}");
    }

    #[test]
    fn only_code_is_left_of_a_text_and_it_stays_in_place() {
        for (text, code) in [
            ("a // {\nb", "a     \nb"),
            ("a /* { /* { */ { */ b", "a                   b"),
            (r#"a "{\"{" b"#, r#"a        b"#),
            (r###"a r#"{"{"# br"\" b"###, "a                b"),
            (r"'{' '\'' '\u{7B}' b'{' '{'", r"                  b       "),
            ("f::<'a, '_>('a')", "f::<'a, '_>(   )"),
            ("r#fn \"{\n{\" b", "  fn   \n   b"),
        ] {
            assert_eq!(code_of(text), code, "{text}");
        }
    }
}
