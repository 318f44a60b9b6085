// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import "time"

const (
	firstDelay   = time.Second
	longestDelay = 30 * time.Second
	// goodRun is how long a container must have run for its earlier failures to be forgotten.
	goodRun = 2 * longestDelay
)

// backoff is how long to wait before a restart: not at all the first time, as a real node does it, then longer each time.
type backoff struct{ delay time.Duration }

// next returns the delay after a run of the given length.
func (b *backoff) next(ran time.Duration) time.Duration {
	if ran >= goodRun {
		b.delay = 0
	}
	delay := b.delay
	b.delay = min(max(2*delay, firstDelay), longestDelay)
	return delay
}
