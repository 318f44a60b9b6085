// Copyright: (c) 2026, the platform.recovery authors
// SPDX-License-Identifier: GPL-3.0-or-later

package app

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// File says where the file of a row is, and which version.
type File struct {
	Bucket    string `json:"bucket"`
	Name      string `json:"name"`
	VersionID string `json:"version_id"`
	Size      int64  `json:"size"`
}

// Files keeps a file a row, with the row's value in it, in a bucket of any store that speaks S3.
type Files struct {
	client *minio.Client
	bucket string
	folder string
}

// OpenFiles prepares the client; nothing is connected yet.
func OpenFiles(config Config, resolver *Resolver) (*Files, error) {
	c := config.Files
	roots, err := rootsFrom(c.CA)
	if err != nil {
		return nil, fmt.Errorf("FILES_CA: %w", err)
	}
	endpoint, secure := c.Endpoint, roots != nil
	if strings.Contains(endpoint, "://") {
		parsed, err := url.Parse(endpoint)
		if err != nil {
			return nil, fmt.Errorf("FILES_ENDPOINT: %w", err)
		}
		endpoint, secure = parsed.Host, parsed.Scheme == "https"
	}
	transport := &http.Transport{
		DialContext:           dialer(resolver, nil),
		TLSClientConfig:       &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		MaxIdleConnsPerHost:   4,
		IdleConnTimeout:       10 * time.Second,
		ResponseHeaderTimeout: time.Second,
	}
	client, err := minio.New(endpoint, &minio.Options{
		Creds:        credentials.NewStaticV4(c.AccessKey, c.SecretKey, ""),
		Secure:       secure,
		Transport:    transport,
		BucketLookup: minio.BucketLookupPath,
		// A file that is put again after a lost answer would have two versions.
		MaxRetries: 1,
	})
	if err != nil {
		return nil, fmt.Errorf("FILES_ENDPOINT is %q: %w", c.Endpoint, err)
	}
	return &Files{client: client, bucket: c.Bucket, folder: config.Table()}, nil
}

func (f *Files) name(row Row) string { return f.folder + "/" + row.Key }

// Keep puts the file of a row.
func (f *Files) Keep(ctx context.Context, row Row) (any, error) {
	name, content := f.name(row), strings.NewReader(row.Value)
	put, err := f.client.PutObject(ctx, f.bucket, name, content, content.Size(), minio.PutObjectOptions{
		ContentType: "text/plain", DisableMultipart: true,
	})
	return File{f.bucket, name, put.VersionID, content.Size()}, err
}

// Find asks for the newest version of the file of a row.
func (f *Files) Find(ctx context.Context, row Row) (any, error) {
	found, err := f.client.StatObject(ctx, f.bucket, f.name(row), minio.StatObjectOptions{})
	if code := minio.ToErrorResponse(err).Code; code == minio.NoSuchKey {
		return nil, nil
	}
	return File{f.bucket, f.name(row), found.VersionID, found.Size}, err
}

// Writable puts a file on a condition that no file fulfils: the store decides first whether it takes writes from us. No
// version comes of it, and nothing is replicated.
func (f *Files) Writable(ctx context.Context) error {
	options := minio.PutObjectOptions{DisableMultipart: true}
	options.SetMatchETag("none")
	_, err := f.client.PutObject(ctx, f.bucket, f.folder+"/.writable", strings.NewReader(""), 0, options)
	switch minio.ToErrorResponse(err).Code {
	case minio.PreconditionFailed, minio.NoSuchKey:
		return nil
	case minio.AccessDenied:
		return fmt.Errorf("bucket %s: this user may not write to it: %w", f.bucket, errClosed)
	}
	return err
}
