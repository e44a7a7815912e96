//! Method calls over D-Bus, one at a time, as the specification has them: a line of authentication, then messages.
//!
//! Synchronous and without a thread or a reactor that would stay in the shim; a call that is not answered in time is an
//! error. What is not an answer to the call (signals, a bus's own words) is passed over. Encoding is zvariant's. (zbus
//! ends a connection to systemd's private socket at the first answer: its sender is no unique name.)

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde::ser::SerializeStruct;
use zvariant::serialized::{Context, Data};
use zvariant::{Endian, ObjectPath, OwnedValue, Signature, Type, Value};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(25);

/// The longest message that is taken; the specification has 128 MiB, systemd's answers have some hundred bytes.
const LONGEST: usize = 1 << 20;

/// Types of messages and fields of their headers (D-Bus specification, "Message Protocol").
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const FIELD_PATH: u8 = 1;
const FIELD_INTERFACE: u8 = 2;
const FIELD_MEMBER: u8 = 3;
const FIELD_ERROR_NAME: u8 = 4;
const FIELD_REPLY_SERIAL: u8 = 5;
const FIELD_DESTINATION: u8 = 6;
const FIELD_SIGNATURE: u8 = 8;

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The other side says no.
    #[error("{text}")]
    Answer {
        /// The error's name (`org.freedesktop.systemd1.NoSuchUnit`).
        name: String,
        /// Its words.
        text: String,
    },
    /// The socket.
    #[error("{0}")]
    Socket(#[from] io::Error),
    /// What was said is not D-Bus, or not what is expected.
    #[error("an answer that is not understood: {0}")]
    Malformed(String),
}

impl From<zvariant::Error> for Error {
    fn from(error: zvariant::Error) -> Self {
        Self::Malformed(error.to_string())
    }
}

/// Whom and what a call is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Method<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
}

/// A connection.
#[derive(Debug)]
pub(super) struct Connection<S> {
    stream: S,
    serial: u32,
}

impl Connection<UnixStream> {
    /// Connects to a bus, or to a `peer`, which is none.
    pub(super) fn open(path: &str, peer: bool) -> Result<Self, Error> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream, serial: 0 };
        connection.authenticate()?;
        if !peer {
            let bus = "org.freedesktop.DBus";
            let hello = Method { destination: bus, path: "/org/freedesktop/DBus", interface: bus, member: "Hello" };
            connection.call::<_, String>(hello, &())?;
        }
        Ok(connection)
    }
}

impl<S: Read + Write> Connection<S> {
    /// As the user that the kernel says we are. All in one piece, as systemd's own client does: its server leaves a
    /// message that it reads together with the last line lying until there is something more to read.
    fn authenticate(&mut self) -> Result<(), Error> {
        let uid = rustix::process::geteuid().as_raw().to_string();
        let hex: String = uid.bytes().map(|byte| format!("{byte:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n").as_bytes())?;
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            line.extend(byte);
            if line.len() > 1024 {
                return Err(Error::Malformed("a line without an end".to_owned()));
            }
        }
        if !line.starts_with(b"OK ") {
            return Err(Error::Malformed(String::from_utf8_lossy(&line).trim().to_owned()));
        }
        Ok(())
    }

    /// Calls a method and waits for its result.
    pub(super) fn call<B, R>(&mut self, method: Method<'_>, body: &B) -> Result<R, Error>
    where
        B: Serialize + Type,
        R: DeserializeOwned + Type,
    {
        self.serial += 1;
        self.stream.write_all(&encode(method, self.serial, body)?)?;
        loop {
            let message = Message::read(&mut self.stream)?;
            match (message.serial()? == Some(self.serial), message.kind) {
                (true, RETURN) => return message.body(),
                (true, ERROR) => {
                    let name = message.text(FIELD_ERROR_NAME)?.unwrap_or_default();
                    let text = message.body::<String>().unwrap_or_else(|_| name.clone());
                    return Err(Error::Answer { name, text });
                }
                _ => {}
            }
        }
    }
}

/// A field of a header.
enum Field<'a> {
    Value(Value<'a>),
    /// The types of a body one after the other; zvariant would take several for one structure.
    Signature(String),
}

impl Type for Field<'_> {
    const SIGNATURE: &'static Signature = &Signature::Variant;
}

impl Serialize for Field<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Signature(types) => {
                let mut variant = serializer.serialize_struct("Variant", 2)?;
                variant.serialize_field("signature", &Signature::Signature)?;
                variant.serialize_field("value", types)?;
                variant.end()
            }
        }
    }
}

fn encode<B: Serialize + Type>(method: Method<'_>, serial: u32, body: &B) -> Result<Vec<u8>, Error> {
    let context = Context::new_dbus(Endian::Little, 0);
    let signature = B::SIGNATURE.to_string_no_parens();
    let body = if signature.is_empty() { Vec::new() } else { zvariant::to_bytes(context, body)?.to_vec() };
    let length = u32::try_from(body.len()).map_err(|_| Error::Malformed("a call that is too long".to_owned()))?;
    let mut fields = vec![
        (FIELD_PATH, Field::Value(Value::from(ObjectPath::try_from(method.path)?))),
        (FIELD_INTERFACE, Field::Value(Value::from(method.interface))),
        (FIELD_MEMBER, Field::Value(Value::from(method.member))),
        (FIELD_DESTINATION, Field::Value(Value::from(method.destination))),
    ];
    if !signature.is_empty() {
        fields.push((FIELD_SIGNATURE, Field::Signature(signature)));
    }
    let mut message = zvariant::to_bytes(context, &(b'l', CALL, 0_u8, 1_u8, length, serial, fields))?.to_vec();
    message.resize(message.len().next_multiple_of(8), 0);
    message.extend(body);
    Ok(message)
}

/// What the other side says.
#[derive(Debug)]
struct Message {
    kind: u8,
    endian: Endian,
    fields: Vec<(u8, OwnedValue)>,
    body: Vec<u8>,
}

impl Message {
    fn read(stream: &mut impl Read) -> Result<Self, Error> {
        let mut start = [0; 16];
        stream.read_exact(&mut start)?;
        let endian = match start[0] {
            b'l' => Endian::Little,
            b'B' => Endian::Big,
            _ => return Err(Error::Malformed("no message".to_owned())),
        };
        let number = |at: usize| {
            let bytes = [start[at], start[at + 1], start[at + 2], start[at + 3]];
            let number = if start[0] == b'l' { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) };
            usize::try_from(number).ok().filter(|length| *length <= LONGEST)
        };
        let (Some(body), Some(fields)) = (number(4), number(12)) else {
            return Err(Error::Malformed("a message that is too long".to_owned()));
        };
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        stream.read_exact(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        rest.truncate(fields);
        // The length of the fields is the last of the first sixteen bytes.
        let array = Data::new([&start[12..], &rest].concat(), Context::new_dbus(endian, 12));
        Ok(Self { kind: start[1], endian, fields: array.deserialize()?.0, body })
    }

    fn field(&self, code: u8) -> Option<&OwnedValue> {
        self.fields.iter().find(|field| field.0 == code).map(|field| &field.1)
    }

    fn serial(&self) -> Result<Option<u32>, Error> {
        Ok(self.field(FIELD_REPLY_SERIAL).map(u32::try_from).transpose()?)
    }

    fn text(&self, code: u8) -> Result<Option<String>, Error> {
        Ok(self.field(code).map(|value| <&str>::try_from(value).map(str::to_owned)).transpose()?)
    }

    fn body<R: DeserializeOwned + Type>(&self) -> Result<R, Error> {
        let signature = match self.field(FIELD_SIGNATURE) {
            Some(value) => <&Signature>::try_from(value)?.to_string_no_parens(),
            None => String::new(),
        };
        if signature != R::SIGNATURE.to_string_no_parens() {
            return Err(Error::Malformed(format!(
                "its type is {signature:?}, not {:?}",
                R::SIGNATURE.to_string_no_parens()
            )));
        }
        Ok(Data::new(&*self.body, Context::new_dbus(self.endian, 0)).deserialize()?.0)
    }
}

#[cfg(test)]
#[path = "dbus_tests.rs"]
mod tests;
