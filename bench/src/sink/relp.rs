//! RELP, as much of it as a receiver of lines needs: opens, takes each `syslog`, answers it, closes.
//!
//! ```text
//! frame = txnr SP command SP length [SP data] LF
//! ```

use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

use super::Counts;

/// Longest data of a frame that is taken.
const MAX_DATA_BYTES: usize = 1 << 20;
/// Longest head of a frame: two numbers and a word.
const MAX_HEAD_BYTES: u64 = 64;

pub(super) fn serve(stream: TcpStream, counts: &Counts) {
    // A connection that ends in the middle is an outage, which is what it is for.
    let _ = run(stream, counts);
}

fn run(stream: TcpStream, counts: &Counts) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 17, stream.try_clone()?);
    let mut output = BufWriter::new(stream);
    let mut data = Vec::new();
    loop {
        let (number, command) = frame(&mut input, &mut data)?;
        match &*command {
            "open" => {
                let offers = "200 OK\nrelp_version=0\nrelp_software=indelible-bench\ncommands=syslog";
                writeln!(output, "{number} rsp {} {offers}", offers.len())?;
            }
            "syslog" => {
                counts.line(&data);
                writeln!(output, "{number} rsp 6 200 OK")?;
            }
            "close" => {
                write!(output, "{number} rsp 0\n0 serverclose 0\n")?;
                return Ok(output.flush()?);
            }
            other => anyhow::bail!("RELP has no {other} here"),
        }
        // What has come is answered together.
        if input.buffer().is_empty() {
            output.flush()?;
        }
    }
}

/// Takes a frame; its data goes to `data`.
fn frame(input: &mut BufReader<TcpStream>, data: &mut Vec<u8>) -> Result<(u32, String)> {
    let mut word = |end: &mut u8| -> Result<String> {
        let mut text = Vec::new();
        loop {
            let byte = input.fill_buf()?.first().copied().context("the end")?;
            input.consume(1);
            if byte == b' ' || byte == b'\n' {
                *end = byte;
                return Ok(String::from_utf8(text)?);
            }
            text.push(byte);
            ensure!((text.len() as u64) < MAX_HEAD_BYTES, "no frame begins like this");
        }
    };
    let mut end = 0;
    let (number, command) = (word(&mut end)?.parse()?, word(&mut end)?);
    let length: usize = word(&mut end)?.parse()?;
    ensure!(length <= MAX_DATA_BYTES, "a frame has at most {MAX_DATA_BYTES} bytes");
    data.clear();
    if end == b' ' {
        data.resize(length, 0);
        input.read_exact(data)?;
        let mut newline = [0];
        input.read_exact(&mut newline)?;
        ensure!(newline == *b"\n", "a frame ends with a newline");
    }
    Ok((number, command))
}
