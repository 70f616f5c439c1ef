"""TLS before a plain server on the loopback: tlsfront.py CERT KEY PORT.

Prints the port it listens on. Whatever comes there goes decrypted to PORT and back again, end
for end. Ends with its standard input, that is with whoever started it."""
import socket
import ssl
import struct
import sys
import threading

cert, key, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)


def serve(raw):
    try:
        client = context.wrap_socket(raw, server_side=True)
    except (OSError, ssl.SSLError):
        raw.close()
        return
    reset = False
    try:
        request = b""
        while b"\r\n\r\n" not in request:  # no request of the tests has a body
            data = client.recv(65536)
            if not data:
                return
            request += data
        back = socket.create_connection(("127.0.0.1", port))
        back.sendall(request)
        try:
            while data := back.recv(65536):
                client.sendall(data)
        except ConnectionResetError:
            reset = True
        back.close()
        if reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            client.unwrap()
    except (OSError, ssl.SSLError):
        pass
    finally:
        client.close()


def listen(listener):
    while True:
        threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


listener = socket.create_server(("127.0.0.1", 0), backlog=16)
print(listener.getsockname()[1], flush=True)
threading.Thread(target=listen, args=(listener,), daemon=True).start()
sys.stdin.read()
