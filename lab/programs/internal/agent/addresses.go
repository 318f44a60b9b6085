// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package agent

import (
	"errors"
	"fmt"
	"strings"
)

// A region's pods have 127.R.100.1 to 127.R.109.250.
const (
	thirdNumbers  = 10
	fourthNumbers = 250
)

// addresses lends pod addresses. It goes round instead of taking the lowest free one, because a client that still
// remembers a dead pod's address must not meet another service there. Its owner guards it.
type addresses struct {
	prefix string
	first  int
	next   int
	taken  map[string]bool
}

// newAddresses takes the first address' leading three numbers, such as 127.1.100.
func newAddresses(base string) (*addresses, error) {
	var a, b, c int
	if n, err := fmt.Sscanf(base+".", "%d.%d.%d.", &a, &b, &c); n != 3 || err != nil || strings.Count(base, ".") != 2 || a != 127 {
		return nil, fmt.Errorf("pod address base is %q, expected three numbers such as 127.1.100", base)
	}
	return &addresses{prefix: fmt.Sprintf("%d.%d.", a, b), first: c, taken: map[string]bool{}}, nil
}

// take lends the wanted address if it is ours and free, else the next free one.
func (a *addresses) take(wanted string) (string, error) {
	if index, ours := a.index(wanted); ours && !a.taken[wanted] {
		a.taken[wanted] = true
		a.next = max(a.next, index+1) % (thirdNumbers * fourthNumbers)
		return wanted, nil
	}
	for range thirdNumbers * fourthNumbers {
		address := a.at(a.next)
		a.next = (a.next + 1) % (thirdNumbers * fourthNumbers)
		if !a.taken[address] {
			a.taken[address] = true
			return address, nil
		}
	}
	return "", errors.New("all pod addresses of this node are taken")
}

func (a *addresses) at(index int) string {
	return fmt.Sprintf("%s%d.%d", a.prefix, a.first+index/fourthNumbers, 1+index%fourthNumbers)
}

func (a *addresses) index(address string) (index int, ours bool) {
	var third, fourth int
	if n, err := fmt.Sscanf(address, a.prefix+"%d.%d", &third, &fourth); n != 2 || err != nil {
		return 0, false
	}
	ours = third >= a.first && third < a.first+thirdNumbers && fourth >= 1 && fourth <= fourthNumbers
	return (third-a.first)*fourthNumbers + fourth - 1, ours
}

func (a *addresses) free(address string) { delete(a.taken, address) }
