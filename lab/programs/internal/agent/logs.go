// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	// logLimit bounds each of a log's two parts.
	logLimit    = 1 << 20
	followEvery = 50 * time.Millisecond
	olderPart   = ".1"
)

// logFile is a container's log: a current part, and an older one that the current replaces when it is full.
type logFile struct {
	mu   sync.Mutex
	path string
	file *os.File
	size int64
}

func logPath(folder, container string) string { return filepath.Join(folder, container+".log") }

func previousLogPath(folder, container string) string {
	return filepath.Join(folder, container+".previous.log")
}

// openLog begins a new log and keeps the one of the run before as the previous one.
func openLog(folder, container string) (*logFile, error) {
	path, previous := logPath(folder, container), previousLogPath(folder, container)
	for _, part := range []string{"", olderPart} {
		err := os.Rename(path+part, previous+part)
		if errors.Is(err, fs.ErrNotExist) {
			err = os.Remove(previous + part)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	file, err := os.Create(path)
	return &logFile{path: path, file: file}, err
}

// Write never fails: a process must not die of its log.
func (l *logFile) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size+int64(len(text)) > logLimit {
		l.turn()
	}
	written, _ := l.file.Write(text)
	l.size += int64(written)
	return len(text), nil
}

func (l *logFile) turn() {
	if os.Rename(l.path, l.path+olderPart) != nil {
		return
	}
	if file, err := os.Create(l.path); err == nil {
		l.file.Close()
		l.file, l.size = file, 0
	}
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.file.Close()
}

// readLog copies the last tail lines (all if negative) of a log to out.
func readLog(path string, tail int64, out io.Writer) (end int64, err error) {
	older, err := os.ReadFile(path + olderPart)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	current, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	_, err = out.Write(lastLines(append(older, current...), tail))
	return int64(len(current)), err
}

func lastLines(text []byte, count int64) []byte {
	if count < 0 {
		return text
	}
	at := len(bytes.TrimSuffix(text, []byte("\n")))
	for ; count > 0 && at > 0; count-- {
		at = bytes.LastIndexByte(text[:at], '\n')
	}
	if at < 0 {
		return text
	}
	if count == 0 && at < len(text) && text[at] == '\n' {
		at++
	}
	return text[at:]
}

// followLog copies what is added behind offset until ctx ends, flushing after each piece.
func followLog(ctx context.Context, path string, offset int64, out io.Writer, flush func()) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { file.Close() }()
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	for {
		copied, err := io.Copy(out, file)
		if err != nil {
			return err
		}
		if copied > 0 {
			flush()
		} else if next := replaced(path, file); next != nil {
			file.Close()
			file = next
			continue
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// replaced opens the file that now stands at path if it is another one.
func replaced(path string, file *os.File) *os.File {
	now, err := os.Stat(path)
	if err != nil {
		return nil
	}
	if then, err := file.Stat(); err != nil || os.SameFile(now, then) {
		return nil
	}
	next, err := os.Open(path)
	if err != nil {
		return nil
	}
	return next
}
