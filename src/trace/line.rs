//! The lines of strace's output, and the calls that they tell of: one that other threads interrupted is put together.
//!
//! Nothing is known here of what a call means. Options that change the form of a line are understood whichever were
//! given: the process in front (`-f`, with or without `-o`), times (`-t`, `-tt`, `-ttt`, `-r`) and durations (`-T`).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::TraceError;
use super::value::outline;

/// Who made a call; 0 where the trace follows one process alone and does not name it.
pub type ProcessId = u32;

/// What a line tells, or two that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'t> {
    /// A call was made and came back.
    Call(Call<'t>),
    /// A process or thread has ended.
    Exit(ProcessId),
}

/// A call that came back, or never did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call<'t> {
    /// Who made it.
    pub process: ProcessId,
    /// Its name.
    pub name: &'t str,
    /// What stands between its parentheses.
    pub arguments: Cow<'t, str>,
    /// What it returned; nothing if it failed, or was cut short and has not happened.
    pub returned: Option<i64>,
    /// What stands behind the equals sign.
    pub result: &'t str,
    /// The line in which it began, counted from 1.
    pub begun: usize,
    /// The line in which it came back.
    pub ended: usize,
}

/// A call that has begun.
struct Begun<'t> {
    name: &'t str,
    arguments: &'t str,
    line: usize,
}

/// A whole trace: what happened, in the order in which it ended; then the calls that never came back, which have no
/// result.
pub fn events(text: &str) -> Result<(Vec<Event<'_>>, Vec<Call<'_>>), TraceError> {
    let mut begun: BTreeMap<ProcessId, Begun<'_>> = BTreeMap::new();
    let mut events = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let number = at + 1;
        // What strace says itself stands among the calls where both go to the standard error.
        if line.trim().is_empty() || line.starts_with("strace: ") {
            continue;
        }
        let (process, what) = head(line);
        if let Some(rest) = what.strip_prefix("+++ ") {
            // A process that another thread's execve replaces goes on under its number.
            if !rest.starts_with("superseded") {
                events.push(Event::Exit(process));
            }
        } else if let Some(rest) = what.strip_prefix("<... ") {
            let (name, end) = rest.split_once(" resumed>").ok_or_else(|| no_line(number, line))?;
            let start = begun.remove(&process).filter(|start| start.name == name).ok_or_else(|| {
                let why = format!("{name} ends here, and its beginning is missing");
                TraceError::new(number, why).help("strace must follow the program from its start, with all its threads")
            })?;
            let arguments = Cow::Owned(format!("{}{end}", start.arguments));
            events.push(Event::Call(call(process, name, arguments, end, start.line, number)?));
        } else if !what.starts_with("--- ") {
            let (name, rest) = what.split_once('(').filter(|(n, _)| is_name(n)).ok_or_else(|| no_line(number, line))?;
            if let Some(arguments) = rest.strip_suffix("<unfinished ...>") {
                let start = Begun { name, arguments: arguments.strip_suffix(' ').unwrap_or(arguments), line: number };
                if let Some(other) = begun.insert(process, start) {
                    let why = format!("{name} begins, and {} of line {} has not ended", other.name, other.line);
                    return Err(TraceError::new(number, why));
                }
            } else {
                events.push(Event::Call(call(process, name, Cow::Borrowed(rest), rest, number, number)?));
            }
        }
    }
    let open = begun.into_iter().map(|(process, start)| Call {
        process,
        name: start.name,
        arguments: Cow::Borrowed(start.arguments),
        returned: None,
        result: "",
        begun: start.line,
        ended: usize::MAX,
    });
    Ok((events, open.collect()))
}

/// A call from `ARGUMENTS) = RESULT`; `last` is how its last line ends.
fn call<'t>(
    process: ProcessId,
    name: &'t str,
    text: Cow<'t, str>,
    last: &'t str,
    begun: usize,
    ended: usize,
) -> Result<Call<'t>, TraceError> {
    let broken = || TraceError::new(ended, format!("{name} does not end: the line was cut, or is none of strace's"));
    let close = outline(&text).close.ok_or_else(broken)?;
    // The rest is the same, wherever the arguments come from.
    let rest = last.len().checked_sub(text.len() - close - 1).and_then(|from| last.get(from..)).ok_or_else(broken)?;
    let result = rest.trim_start().strip_prefix('=').ok_or_else(broken)?.trim();
    let result = match result.rsplit_once(" <") {
        Some((result, time)) if is_time(time.trim_end_matches('>')) => result.trim_end(),
        _ => result,
    };
    let arguments = match text {
        Cow::Borrowed(text) => Cow::Borrowed(&text[..close]),
        Cow::Owned(mut text) => {
            text.truncate(close);
            Cow::Owned(text)
        }
    };
    let returned = returned(result).ok_or_else(broken)?;
    Ok(Call { process, name, arguments, returned, result, begun, ended })
}

/// What a result says: `None` if it is none, `Some(None)` for a failure and for a call that has not happened.
fn returned(result: &str) -> Option<Option<i64>> {
    if result.starts_with(['-', '?']) {
        return Some(None);
    }
    let number = match result.strip_prefix("0x") {
        Some(hex) => {
            let end = hex.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(hex.len());
            u64::from_str_radix(&hex[..end], 16).ok()?.cast_signed()
        }
        None => {
            let end = result.find(|c: char| !c.is_ascii_digit()).unwrap_or(result.len());
            result[..end].parse().ok()?
        }
    };
    Some(Some(number))
}

/// Who, and the rest of the line behind the time.
fn head(line: &str) -> (ProcessId, &str) {
    let mut rest = line.trim_start();
    let mut process = 0;
    let numbered = rest.strip_prefix("[pid ").and_then(|rest| rest.split_once(']'));
    if let Some((number, behind)) = numbered {
        (process, rest) = (number.trim().parse().unwrap_or(0), behind.trim_start());
    } else if let Some((number, behind)) = rest.split_once(' ')
        && let Ok(number) = number.parse()
    {
        (process, rest) = (number, behind.trim_start());
    }
    while let Some((time, behind)) = rest.split_once(' ')
        && is_time(time)
    {
        rest = behind.trim_start();
    }
    (process, rest)
}

/// `15:30:39.147681`, `1700000000.123456`, `0.000012`.
fn is_time(word: &str) -> bool {
    let known = |b: u8| b.is_ascii_digit() || b == b':' || b == b'.';
    word.starts_with(|c: char| c.is_ascii_digit()) && word.contains([':', '.']) && word.bytes().all(known)
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn no_line(number: usize, line: &str) -> TraceError {
    let shown: String = line.chars().take(60).collect();
    TraceError::new(number, format!("{shown:?} is no line of strace's output"))
}
