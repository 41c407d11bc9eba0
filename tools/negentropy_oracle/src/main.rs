//! The crate `negentropy`: asked by lines, or timed (see `bench.rs`).
//!
//! One command a line on standard input, one answer per line on standard output.
//!
//! `item TIMESTAMP ID` adds an item to the next set and is not answered.
//! `open LIMIT` makes a session of the items since the last one: `session N`.
//! `initiate N` answers `message HEX`; `reconcile N HEX` answers `reply HEX|- HAVE NEED`, where
//! HAVE and NEED are ids joined by commas, or `-`. What the library refuses is `error TEXT`.

mod bench;

use std::env;
use std::io::{self, BufRead, Write};

use negentropy::{Id, Negentropy, NegentropyStorageVector};

type Failure = Box<dyn std::error::Error>;
type Item = (u64, Id);
type Session = Negentropy<'static, NegentropyStorageVector>;

fn storage_of(items: Vec<Item>) -> Result<NegentropyStorageVector, Failure> {
    let mut storage = NegentropyStorageVector::with_capacity(items.len());
    for (timestamp, id) in items {
        storage.insert(timestamp, id)?;
    }
    storage.seal()?;
    Ok(storage)
}

fn bytes_of(hex: &str) -> Result<Vec<u8>, Failure> {
    (0..hex.len() / 2)
        .map(|at| Ok(u8::from_str_radix(&hex[2 * at..2 * at + 2], 16)?))
        .collect()
}

fn hex_of(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn list_of(ids: &mut [Id]) -> String {
    ids.sort();
    let texts: Vec<String> = ids.iter().map(|id| hex_of(&id[..])).collect();
    if texts.is_empty() {
        "-".to_string()
    } else {
        texts.join(",")
    }
}

fn reconcile(session: &mut Session, query: &[u8]) -> Result<String, Failure> {
    if !session.is_initiator() {
        return Ok(format!("reply {} - -", hex_of(&session.reconcile(query)?)));
    }
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let reply = session.reconcile_with_ids(query, &mut have, &mut need)?;
    let text = reply.map_or("-".to_string(), |data| hex_of(&data));
    Ok(format!("reply {text} {} {}", list_of(&mut have), list_of(&mut need)))
}

/// The state between lines: items of the next set, and every session made so far.
#[derive(Default)]
struct State {
    items: Vec<Item>,
    sessions: Vec<Session>,
}

impl State {
    fn open(&mut self, limit: &str) -> Result<String, Failure> {
        let storage = storage_of(std::mem::take(&mut self.items))?;
        self.sessions.push(Negentropy::owned(storage, limit.parse()?)?);
        Ok(format!("session {}", self.sessions.len() - 1))
    }

    fn perform(&mut self, words: &[&str]) -> Result<Option<String>, Failure> {
        match words {
            ["item", timestamp, id] => {
                let id = Id::from_slice(&bytes_of(id)?)?;
                self.items.push((timestamp.parse()?, id));
                Ok(None)
            }
            ["open", limit] => self.open(limit).map(Some),
            ["initiate", number] => {
                let message = self.sessions[number.parse::<usize>()?].initiate()?;
                Ok(Some(format!("message {}", hex_of(&message))))
            }
            ["reconcile", number, query @ ..] => {
                let query = bytes_of(query.first().unwrap_or(&""))?;
                reconcile(&mut self.sessions[number.parse::<usize>()?], &query).map(Some)
            }
            ["forget"] => {
                self.sessions.clear();
                Ok(Some("forgotten".to_string()))
            }
            _ => Err("no such command".into()),
        }
    }
}

fn main() -> Result<(), Failure> {
    let words: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => Ok(answer_lines()?),
        ["bench", client, server, limit, path] => bench::bench(client, server, limit, path),
        _ => Err("usage: negentropy-oracle [bench CLIENT SERVER LIMIT TRANSCRIPT]".into()),
    }
}

fn answer_lines() -> io::Result<()> {
    let mut state = State::default();
    let mut output = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match state.perform(&words) {
            Ok(None) => continue,
            Ok(Some(text)) => text,
            Err(failure) => format!("error {failure}"),
        };
        writeln!(output, "{answer}")?;
        output.flush()?;
    }
    Ok(())
}
