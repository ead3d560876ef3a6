//! RELP, as much of it as a receiver of lines needs: opens, takes each `syslog`, answers it, closes.
//!
//! ```text
//! frame = txnr SP command SP length [SP data] LF
//! ```

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;

use anyhow::{Context as _, Result, ensure};

/// Longest data of a frame that is taken.
const MAX_DATA_BYTES: usize = 1 << 20;
/// Longest head of a frame: two numbers and a word.
const MAX_HEAD_BYTES: u64 = 64;

/// Bytes of answers that are held back at most: about a hundred of them, less than a client's window.
const MAX_ANSWER_BYTES: usize = 2 << 10;

/// Who takes the lines of one connection.
pub trait Taker {
    /// One line.
    fn line(&mut self, line: &[u8]);
    /// The lines since the last call are about to be answered; an error ends the connection instead.
    fn keep(&mut self) -> Result<()>;
}

/// Serves a connection until it ends.
pub fn serve(mut stream: TcpStream, taker: &mut impl Taker) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut input = BufReader::with_capacity(1 << 17, stream.try_clone()?);
    let (mut output, mut data) = (Vec::new(), Vec::new());
    loop {
        let (number, command) = frame(&mut input, &mut data)?;
        match &*command {
            "open" => {
                let offers = "200 OK\nrelp_version=0\nrelp_software=indelible-bench\ncommands=syslog";
                writeln!(output, "{number} rsp {} {offers}", offers.len())?;
            }
            "syslog" => {
                taker.line(&data);
                writeln!(output, "{number} rsp 6 200 OK")?;
            }
            "close" => {
                write!(output, "{number} rsp 0\n0 serverclose 0\n")?;
                taker.keep()?;
                return Ok(stream.write_all(&output)?);
            }
            other => anyhow::bail!("RELP has no {other} here"),
        }
        // What has come is answered together; a frame that has come in part waits for its rest.
        if input.buffer().is_empty() || output.len() > MAX_ANSWER_BYTES {
            taker.keep()?;
            stream.write_all(&output)?;
            output.clear();
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
