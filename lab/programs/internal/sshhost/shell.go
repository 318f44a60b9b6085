// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package sshhost

import (
	"errors"
	"fmt"
	"io"
	"strings"
)

// Exit codes of a POSIX shell.
const (
	shellMisuse     = 2
	commandNotFound = 127
)

// shell runs one line of simple commands joined by ; or &&; a real shell runs the script that `sh -s` is given.
type shell struct {
	units            map[string]string
	find             Finder
	scripts          *scripts
	input            io.Reader
	output, problems io.Writer
}

func (s *shell) run(line string) int {
	commands, err := parseLine(line)
	if err != nil {
		fmt.Fprintf(s.problems, "sh: %v\n", err)
		return shellMisuse
	}
	code := 0
	for _, command := range commands {
		if command.onSuccess && code != 0 {
			continue
		}
		code = s.execute(command.words)
	}
	return code
}

func (s *shell) execute(words []string) int {
	words = withoutSudo(words)
	switch words[0] {
	case "true":
		return 0
	case "sh":
		if len(words) != 2 || words[1] != "-s" {
			return s.fail(shellMisuse, "sh: only `sh -s` is supported on this host")
		}
		return s.scripts.run(s.input, s.output, s.problems)
	case "systemctl":
		return s.systemctl(words[1:])
	default:
		fmt.Fprintf(s.problems, "sh: %s: command not found\n", words[0])
		return commandNotFound
	}
}

func withoutSudo(words []string) []string {
	if words[0] != "sudo" {
		return words
	}
	rest := words[1:]
	if len(rest) > 0 && (rest[0] == "-n" || rest[0] == "--non-interactive") {
		rest = rest[1:]
	}
	if len(rest) > 1 && rest[0] == "-u" {
		rest = rest[2:] // a host of the lab has one account
	}
	if len(rest) == 0 {
		return words
	}
	return rest
}

type command struct {
	words     []string
	onSuccess bool // joined to the one before by &&
}

// parseLine splits a line into commands and words; quotes work as in a shell, expansions are not known.
func parseLine(line string) ([]command, error) {
	commands := []command{}
	current := command{}
	scanner := wordScanner{rest: line}
	for {
		word, operator, err := scanner.next()
		if err != nil {
			return nil, err
		}
		if operator == "" {
			current.words = append(current.words, word)
			continue
		}
		if len(current.words) > 0 {
			commands = append(commands, current)
		} else if operator == "&&" || current.onSuccess {
			return nil, errors.New("syntax error: a command is missing beside &&")
		}
		if operator == endOfLine {
			return commands, nil
		}
		current = command{onSuccess: operator == "&&"}
	}
}

const endOfLine = "end"

type wordScanner struct{ rest string }

// next returns either a word or an operator.
func (w *wordScanner) next() (word, operator string, err error) {
	w.rest = strings.TrimLeft(w.rest, " \t")
	switch {
	case w.rest == "":
		return "", endOfLine, nil
	case strings.HasPrefix(w.rest, "&&"):
		w.rest = w.rest[2:]
		return "", "&&", nil
	case w.rest[0] == ';' || w.rest[0] == '\n':
		w.rest = w.rest[1:]
		return "", ";", nil
	}
	word, err = w.word()
	return word, "", err
}

func (w *wordScanner) word() (string, error) {
	var word strings.Builder
	for w.rest != "" && !strings.ContainsRune(" \t\n;", rune(w.rest[0])) && !strings.HasPrefix(w.rest, "&&") {
		first := w.rest[0]
		switch {
		case first == '\'' || first == '"':
			text, rest, closed := strings.Cut(w.rest[1:], string(first))
			if !closed {
				return "", errors.New("syntax error: unterminated quoted string")
			}
			word.WriteString(text)
			w.rest = rest
		case strings.ContainsRune("|&<>()$`\\*?", rune(first)):
			return "", fmt.Errorf("%c is not supported on this host", first)
		default:
			word.WriteByte(first)
			w.rest = w.rest[1:]
		}
	}
	return word.String(), nil
}
