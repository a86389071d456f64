// Command timeline draws one trace, from lines of OTLP JSON, as an SVG timeline that is
// as readable on dark paper as on light.
//
//	timeline [-trace ID] file.jsonl > picture.svg
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	id := flag.String("trace", "", "id of the trace; empty: the last one in the file")
	flag.Parse()
	if err := run(flag.Arg(0), *id, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "timeline:", err)
		os.Exit(1)
	}
}

func run(file, id string, out io.Writer) error {
	in := io.Reader(os.Stdin)
	if file != "" {
		f, err := os.Open(file)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	all, err := read(in)
	if err != nil {
		return err
	}
	rows, depth, err := tree(all, id)
	if err != nil {
		return err
	}
	return draw(out, rows, depth)
}
