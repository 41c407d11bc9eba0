// Command meshwire answers the codec harness: a request a line in, an answer a line out.
package main

import (
	"bufio"
	"encoding/json"
	"math"
	"meshwire/codec"
	"os"
)

type request map[string]json.RawMessage

var operations = map[string]func(request) (any, error){
	"hello":             func(request) (any, error) { return codec.Hello("meshwire-go", "1"), nil },
	"decode":            func(r request) (any, error) { return codec.DecodeJSON(r["kind"], r["data"]) },
	"encode":            func(r request) (any, error) { return codec.EncodeJSON(r["kind"], r["value"]) },
	"formation_respond": func(r request) (any, error) { return codec.RespondJSON(r["formation_id"], r["secret"], r["nonce"]) },
	"bye":               func(request) (any, error) { return struct{}{}, nil },
}

func main() {
	in, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	in.Buffer(nil, math.MaxInt) // a line has any length
	out.SetEscapeHTML(false)
	for op := ""; op != "bye" && in.Scan(); {
		var r request
		_, op = json.Unmarshal(in.Bytes(), &r), "" // a line that is no object has no op
		_ = json.Unmarshal(r["op"], &op)
		reply := map[string]any{"id": r["id"]}
		if operation, known := operations[op]; !known {
			reply["error"] = codec.Unknown("operation", op)
		} else if result, err := operation(r); err != nil {
			reply["error"] = err
		} else {
			reply["result"] = result
		}
		_ = out.Encode(reply)
	}
}
