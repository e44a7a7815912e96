use super::*;

/// What is to be read, and what has been written.
struct Script {
    answers: io::Cursor<Vec<u8>>,
    written: Vec<u8>,
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.answers.read(buffer)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.written.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connection(answers: Vec<u8>) -> Connection<Script> {
    Connection { stream: Script { answers: io::Cursor::new(answers), written: Vec::new() }, serial: 0 }
}

const METHOD: Method<'static> = Method { destination: "a.b", path: "/p", interface: "c.d", member: "M" };

/// An answer of the peer's, whose sender is no unique name, as systemd's private socket gives it.
fn answer<B: Serialize + Type>(kind: u8, serial: u32, error: Option<&str>, body: &B) -> Vec<u8> {
    let context = Context::new_dbus(Endian::Little, 0);
    let body = zvariant::to_bytes(context, body).unwrap().to_vec();
    let mut fields = vec![
        (FIELD_REPLY_SERIAL, Field::Value(Value::from(serial))),
        (7, Field::Value(Value::from("org.freedesktop.systemd1"))),
        (FIELD_SIGNATURE, Field::Signature(B::SIGNATURE.to_string_no_parens())),
    ];
    fields.extend(error.map(|name| (FIELD_ERROR_NAME, Field::Value(Value::from(name)))));
    let length = u32::try_from(body.len()).unwrap();
    let mut bytes = zvariant::to_bytes(context, &(b'l', kind, 0_u8, 1_u8, length, 9_u32, fields)).unwrap().to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend(body);
    bytes
}

#[test]
fn a_call_is_what_the_specification_says() {
    let bytes = encode(METHOD, 7, &("x", 5_u32)).unwrap();
    let expected = [
        &b"l\x01\x00\x01\x0c\0\0\0\x07\0\0\0\x45\0\0\0"[..],
        b"\x01\x01o\0\x02\0\0\0/p\0\0\0\0\0\0",
        b"\x02\x01s\0\x03\0\0\0c.d\0\0\0\0\0",
        b"\x03\x01s\0\x01\0\0\0M\0\0\0\0\0\0\0",
        b"\x06\x01s\0\x03\0\0\0a.b\0\0\0\0\0",
        b"\x08\x01g\0\x02su\0\0\0\0\0\0\0\0\0"[..16].as_ref(),
    ];
    let (header, body) = bytes.split_at(bytes.len() - 12);
    assert_eq!(body, b"\x01\0\0\0x\0\0\0\x05\0\0\0");
    assert_eq!(&header[16..80], expected[1..5].concat());
    assert_eq!(&header[..12], &expected[0][..12]);
    assert!(header[80..].starts_with(b"\x08\x01g\0\x02su\0"), "{:?}", &header[80..]);
    assert_eq!(bytes.len() % 4, 0);
}

#[test]
fn the_answer_to_a_call_is_found_among_others() {
    let others = [answer(4, 1, None, &"a signal"), answer(RETURN, 8, None, &"to somebody else's")].concat();
    let mut bus = connection([others, answer(RETURN, 1, None, &"mine")].concat());
    assert_eq!(bus.call::<_, String>(METHOD, &()).unwrap(), "mine");
    let mut bus = connection(answer(ERROR, 1, Some("x.NoSuchUnit"), &"no such unit"));
    match bus.call::<_, String>(METHOD, &()).unwrap_err() {
        Error::Answer { name, text } => assert_eq!((&*name, &*text), ("x.NoSuchUnit", "no such unit")),
        error => panic!("{error}"),
    }
}

#[test]
fn what_is_not_understood_is_an_error() {
    let call = |answers: Vec<u8>| connection(answers).call::<_, String>(METHOD, &()).unwrap_err().to_string();
    assert_eq!(call(answer(RETURN, 1, None, &5_u32)), "an answer that is not understood: its type is \"u\", not \"s\"");
    assert_eq!(call(vec![b'x'; 16]), "an answer that is not understood: no message");
    let mut long = answer(RETURN, 1, None, &"x");
    long[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(call(long), "an answer that is not understood: a message that is too long");
    assert!(matches!(connection(Vec::new()).call::<_, String>(METHOD, &()), Err(Error::Socket(_))));
}

#[test]
fn authentication_is_as_the_user_of_the_process() {
    let mut bus = connection(b"OK 0123\r\n".to_vec());
    bus.authenticate().unwrap();
    let written = String::from_utf8(bus.stream.written).unwrap();
    assert!(written.starts_with("\0AUTH EXTERNAL 3") && written.ends_with("\r\nBEGIN\r\n"), "{written:?}");
    let refused = connection(b"REJECTED EXTERNAL\r\n".to_vec()).authenticate().unwrap_err().to_string();
    assert_eq!(refused, "an answer that is not understood: REJECTED EXTERNAL");
}
