//! The crate `negentropy` as a process of its own, to compare bytes and times with.
//!
//! `fuzz`: cases on stdin, answers on stdout, until the end of input. A case is the frame limits of
//! client and server (u64), then twice a count (u32) and that many items of u64 and 32 bytes.
//! The answer is a count of messages (u32), each with its length (u32), then the ids the client has
//! and those it needs, each list with its count (u32). Integers are little endian.
//!
//! `bench CLIENT SERVER LIMIT TRANSCRIPT`: items from two files, one run, all messages into a file
//! in the form above; times in seconds and the peak memory go to stdout as one line of JSON.

use negentropy::{Id, Negentropy, NegentropyStorageVector};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::time::{Duration, Instant};

const ITEM: usize = 40;

type Items = Vec<(u64, Id)>;

struct Outcome {
    messages: Vec<Vec<u8>>,
    have: Vec<Id>,
    need: Vec<Id>,
    client: Duration,
    server: Duration,
}

fn parse_items(bytes: &[u8]) -> Items {
    bytes
        .chunks_exact(ITEM)
        .map(|item| {
            let timestamp = u64::from_le_bytes(item[..8].try_into().unwrap());
            (timestamp, Id::from_byte_array(item[8..].try_into().unwrap()))
        })
        .collect()
}

fn build(items: &Items) -> NegentropyStorageVector {
    let mut storage = NegentropyStorageVector::with_capacity(items.len());
    for (timestamp, id) in items {
        storage.insert(*timestamp, *id).unwrap();
    }
    storage.seal().unwrap();
    storage
}

fn run(
    ours: &NegentropyStorageVector,
    theirs: &NegentropyStorageVector,
    client_limit: u64,
    server_limit: u64,
) -> Outcome {
    let mut client = Negentropy::borrowed(ours, client_limit).unwrap();
    let mut server = Negentropy::borrowed(theirs, server_limit).unwrap();
    let (mut have, mut need) = (Vec::new(), Vec::new());
    let mut messages = Vec::new();
    let (mut client_time, mut server_time) = (Duration::ZERO, Duration::ZERO);
    let start = Instant::now();
    let mut next = Some(client.initiate().unwrap());
    client_time += start.elapsed();
    while let Some(query) = next {
        let start = Instant::now();
        let reply = server.reconcile(&query).unwrap();
        server_time += start.elapsed();
        let start = Instant::now();
        next = client.reconcile_with_ids(&reply, &mut have, &mut need).unwrap();
        client_time += start.elapsed();
        messages.push(query);
        messages.push(reply);
    }
    Outcome { messages, have, need, client: client_time, server: server_time }
}

fn write_outcome(output: &mut impl Write, outcome: &Outcome) -> io::Result<()> {
    output.write_all(&(outcome.messages.len() as u32).to_le_bytes())?;
    for message in &outcome.messages {
        output.write_all(&(message.len() as u32).to_le_bytes())?;
        output.write_all(message)?;
    }
    for ids in [&outcome.have, &outcome.need] {
        output.write_all(&(ids.len() as u32).to_le_bytes())?;
        for id in ids {
            output.write_all(id.as_bytes())?;
        }
    }
    output.flush()
}

fn read_u32(input: &mut impl Read) -> io::Result<u32> {
    let mut bytes = [0; 4];
    input.read_exact(&mut bytes)?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_u64(input: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_storage(input: &mut impl Read) -> io::Result<NegentropyStorageVector> {
    let mut bytes = vec![0; read_u32(input)? as usize * ITEM];
    input.read_exact(&mut bytes)?;
    Ok(build(&parse_items(&bytes)))
}

fn fuzz() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    loop {
        let client_limit = match read_u64(&mut input) {
            Ok(limit) => limit,
            Err(fault) if fault.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            Err(fault) => return Err(fault),
        };
        let server_limit = read_u64(&mut input)?;
        let ours = read_storage(&mut input)?;
        let theirs = read_storage(&mut input)?;
        write_outcome(&mut output, &run(&ours, &theirs, client_limit, server_limit))?;
    }
}

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
}

fn bench(arguments: &[String]) -> io::Result<()> {
    let theirs = build(&parse_items(&std::fs::read(&arguments[1])?));
    let items = parse_items(&std::fs::read(&arguments[0])?);
    let start = Instant::now();
    let ours = build(&items);
    let built = start.elapsed();
    drop(items);
    let limit: u64 = arguments[2].parse().unwrap();
    let mut best = run(&ours, &theirs, limit, limit);
    for _ in 1..10 {
        let again = run(&ours, &theirs, limit, limit);
        best.client = best.client.min(again.client);
        best.server = best.server.min(again.server);
    }
    write_outcome(&mut BufWriter::new(std::fs::File::create(&arguments[3])?), &best)?;
    println!(
        "{{\"build\": {}, \"client\": {}, \"server\": {}, \"peak_kib\": {}}}",
        built.as_secs_f64(),
        best.client.as_secs_f64(),
        best.server.as_secs_f64(),
        peak_kib()
    );
    Ok(())
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("fuzz") => fuzz(),
        Some("bench") if arguments.len() == 5 => bench(&arguments[1..]),
        _ => panic!("usage: negentropy_peer fuzz | bench CLIENT SERVER LIMIT TRANSCRIPT"),
    }
}
