//! Prints the debug text of values, one for each line of input.
//!
//! A line has words: `0` null, `t` and `f` flags, `n` and the bits of a float in hexadecimal, `s` and
//! a text in hexadecimal, `a` and how many values follow, `o` and how many pairs of text and value.

use std::fmt;
use std::io::{self, BufRead};
use std::str::SplitWhitespace;

// The names are printed.
#[derive(Debug)]
#[allow(dead_code)]
enum Value {
    Null,
    Bool(bool),
    Number(f64),
    String(String),
    Array(Vec<Value>),
    Object(Members),
}

struct Members(Vec<(String, Value)>);

impl fmt::Debug for Members {
    // As a map is printed, in the order of the line.
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_map().entries(self.0.iter().map(|(name, value)| (name, value))).finish()
    }
}

fn text(digits: &str) -> Option<String> {
    let bytes: Option<Vec<u8>> = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect();
    String::from_utf8(bytes?).ok()
}

fn value(words: &mut SplitWhitespace<'_>) -> Option<Value> {
    let word = words.next()?;
    let (kind, rest) = word.split_at_checked(1)?;
    Some(match kind {
        "0" => Value::Null,
        "t" => Value::Bool(true),
        "f" => Value::Bool(false),
        "n" => Value::Number(f64::from_bits(u64::from_str_radix(rest, 16).ok()?)),
        "s" => Value::String(text(rest)?),
        "a" => {
            let count: usize = rest.parse().ok()?;
            Value::Array((0..count).map(|_| value(words)).collect::<Option<_>>()?)
        }
        "o" => {
            let count: usize = rest.parse().ok()?;
            let pairs = (0..count).map(|_| {
                let name = text(words.next()?.strip_prefix('s')?)?;
                Some((name, value(words)?))
            });
            Value::Object(Members(pairs.collect::<Option<_>>()?))
        }
        _ => return None,
    })
}

fn main() {
    let (major, minor, update) = char::UNICODE_VERSION;
    println!("{major}.{minor}.{update}");
    for line in io::stdin().lock().lines() {
        let line = line.expect("a line of text");
        match value(&mut line.split_whitespace()) {
            Some(found) => println!("{found:?}"),
            None => println!("unreadable"),
        }
    }
}
