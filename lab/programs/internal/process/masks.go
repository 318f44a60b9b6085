// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package process

import (
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
)

// masks is a folder with one empty file per masked process: the truth survives the supervisor.
type masks string

func (m masks) file(id string) string { return filepath.Join(string(m), url.PathEscape(id)) }

// has counts a mask that cannot be looked up as there: a fenced server must not start because its folder is out of reach.
func (m masks) has(id string) bool {
	_, err := os.Stat(m.file(id))
	return !errors.Is(err, fs.ErrNotExist)
}

func (m masks) add(id string) error {
	if err := os.MkdirAll(string(m), 0o755); err != nil {
		return err
	}
	return os.WriteFile(m.file(id), nil, 0o644)
}

func (m masks) remove(id string) error {
	if err := os.Remove(m.file(id)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
