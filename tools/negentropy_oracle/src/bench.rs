//! `bench CLIENT SERVER LIMIT TRANSCRIPT`: one run over items from two files, timed.
//!
//! An item is u64 and 32 bytes. The transcript is a count of messages (u32), then each message with
//! its length (u32). Integers are little endian. Times in seconds, the best of ten runs, and the
//! peak memory go to standard output as one line of JSON.

use std::fs;
use std::time::{Duration, Instant};

use negentropy::{Id, Negentropy, NegentropyStorageVector};

use crate::{storage_of, Failure, Item};

const ITEM: usize = 40;
const RUNS: usize = 10;

struct Outcome {
    messages: Vec<Vec<u8>>,
    client: Duration,
    server: Duration,
}

fn read_items(path: &str) -> Result<Vec<Item>, Failure> {
    fs::read(path)?
        .chunks_exact(ITEM)
        .map(|item| Ok((u64::from_le_bytes(item[..8].try_into()?), Id::from_slice(&item[8..])?)))
        .collect()
}

fn run(
    ours: &NegentropyStorageVector,
    theirs: &NegentropyStorageVector,
    limit: u64,
) -> Result<Outcome, Failure> {
    let mut client = Negentropy::borrowed(ours, limit)?;
    let mut server = Negentropy::borrowed(theirs, limit)?;
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut messages = Vec::new();
    let (mut client_time, mut server_time) = (Duration::ZERO, Duration::ZERO);
    let start = Instant::now();
    let mut next = Some(client.initiate()?);
    client_time += start.elapsed();
    while let Some(query) = next {
        let start = Instant::now();
        let reply = server.reconcile(&query)?;
        server_time += start.elapsed();
        let start = Instant::now();
        next = client.reconcile_with_ids(&reply, &mut have, &mut need)?;
        client_time += start.elapsed();
        messages.push(query);
        messages.push(reply);
    }
    Ok(Outcome { messages, client: client_time, server: server_time })
}

fn transcript(messages: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = (messages.len() as u32).to_le_bytes().to_vec();
    for message in messages {
        bytes.extend((message.len() as u32).to_le_bytes());
        bytes.extend(message);
    }
    bytes
}

fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

pub fn bench(client: &str, server: &str, limit: &str, path: &str) -> Result<(), Failure> {
    let theirs = storage_of(read_items(server)?)?;
    let items = read_items(client)?;
    let start = Instant::now();
    let ours = storage_of(items)?;
    let built = start.elapsed();
    let limit = limit.parse()?;
    let mut best = run(&ours, &theirs, limit)?;
    for _ in 1..RUNS {
        let again = run(&ours, &theirs, limit)?;
        best.client = best.client.min(again.client);
        best.server = best.server.min(again.server);
    }
    fs::write(path, transcript(&best.messages))?;
    println!(
        "{{\"build\": {}, \"client\": {}, \"server\": {}, \"peak_kib\": {}}}",
        built.as_secs_f64(),
        best.client.as_secs_f64(),
        best.server.as_secs_f64(),
        peak_kib()
    );
    Ok(())
}
